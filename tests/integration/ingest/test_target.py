"""One page, one transaction: what is committed together, and what repeats it."""

from __future__ import annotations

import hashlib
import threading
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from integration.core.clock import utc_now
from integration.core.exit_codes import ExitCode
from integration.database.errors import DatabaseUnavailable
from integration.database.write_errors import ConnectionLost, Deadlock
from integration.database.writing import open_writer
from integration.ingest.checkpoints import Checkpoint, read_checkpoint
from integration.ingest.errors import IngestError, SourceBusy, TooManyRejected
from integration.ingest.locks import is_running, source_lock
from integration.ingest.models import Rejection
from integration.ingest.raw_pages import pages_of, read_page
from integration.ingest.rejections import open_pages
from integration.ingest.runs import end_run, find_run, last_runs, start_run
from integration.ingest.tables import prepare_tables
from integration.ingest.target import Target
from tests.support.ingest import Ingest, Source, counts, customer, emails, raw_page, rows_of

if TYPE_CHECKING:
    from db_connection import DatabaseSettings
    from integration.database.writing import WriteSession

BAD = Rejection(1, "2", "missing", "email", "is required")


def snapshot(session: WriteSession) -> list[Any]:
    """Everything that a page may change."""
    tables = ("customers", "page_views", "etl_checkpoint", "etl_raw_data", "etl_rejected")
    order = {"etl_raw_data": "page", "etl_rejected": "position"}
    return [
        *(session.query(f"SELECT * FROM {name} ORDER BY {order.get(name, 1)}") for name in tables),
        session.query("SELECT pages, records, inserted FROM etl_runs"),
        session.query("SELECT * FROM etl_records ORDER BY target_id"),
    ]


def test_a_page_is_stored_with_all_that_belongs_to_it(session: WriteSession) -> None:
    """Raw page, rows, rejection, counts and checkpoint."""
    run = Ingest(session)
    content = b'[{"id": 1}, \x00\xff\'"\\]'
    run.write(customer("1", "a@x.com"), rejections=[BAD], content=content)

    assert read_checkpoint(session, "crm")[:3] == ({"page": 1}, 1, run.run_id)
    (page,) = pages_of(session, run.run_id)
    assert (page.content, page.origin) == (content, "https://crm.example.com/api")
    ((packed, digest, records),) = session.query(
        "SELECT content, sha256, records FROM etl_raw_data"
    )
    assert zlib.decompress(packed) == content
    assert (digest, records) == (hashlib.sha256(content).hexdigest(), 2)
    assert open_pages(session) == [("crm", run.run_id, 1, (1,))]
    found = find_run(session, run.run_id)
    assert found is not None
    assert (found.pages, found.records, found.inserted, found.rejected) == (1, 2, 1, 1)
    assert run.target.counts == found.counts


def test_a_second_rejection_of_a_record_does_not_count(session: WriteSession) -> None:
    """Records are counted, not mistakes."""
    outcome = Ingest(session).write(
        customer("1", "a@x.com"), rejections=[BAD, BAD._replace(code="type")]
    )
    assert counts(outcome) == (1, 0, 0, 1)


def bad(*places: int) -> list[Rejection]:
    """Rejections of the records at these places."""
    return [BAD._replace(index=place) for place in places]


def test_a_page_with_too_many_rejections_is_not_stored(session: WriteSession) -> None:
    """Nothing of it is left; exactly the allowed share is accepted."""
    run = Ingest(session, Source(max_rejected_percent=50))
    good = [customer(str(number), f"{number}@x.com") for number in range(10)]
    before = snapshot(session)
    with pytest.raises(TooManyRejected, match=r"11 of 21 .* \(11 missing email\), more than"):
        run.write(*good, rejections=bad(*range(10, 21)))
    assert snapshot(session) == before
    assert counts(run.write(*good, rejections=bad(*range(10, 20)))) == (10, 0, 0, 10)


def test_the_error_names_the_values_that_are_accepted(session: WriteSession) -> None:
    """For each field once, whatever is wrong with it; not for fields that are missing."""
    rejections = [
        BAD._replace(index=0, code="not_allowed", field="device"),
        *bad(1),
        BAD._replace(index=2, code="type", field="device"),
    ]
    run = Ingest(session, Source(max_rejected_percent=50, limits_every_page=True))
    with pytest.raises(TooManyRejected) as caught:
        run.write(rejections=rejections)
    assert "stored; device must be one of mobile, desktop, tablet; compare" in str(caught.value)


def test_a_bad_record_among_a_few_does_not_stop_a_source(session: WriteSession) -> None:
    """Small pages are judged together, as soon as they have twenty records."""
    run = Ingest(session, Source(max_rejected_percent=10))
    for _ in range(6):
        run.write(customer("1", "a@x.com"), customer("2", "b@x.com"), rejections=bad(2))
    with pytest.raises(TooManyRejected, match="1 of 3 records of a page"):
        run.write(customer("1", "a@x.com"), customer("2", "b@x.com"), rejections=bad(2))
    run.write(customer("1", "a@x.com"))


def test_a_percentage_that_was_set_holds_for_every_page(session: WriteSession) -> None:
    """However few records it has."""
    run = Ingest(session, Source(max_rejected_percent=50, limits_every_page=True))
    run.write(customer("1", "a@x.com"), rejections=bad(1))
    with pytest.raises(TooManyRejected, match="1 of 1 records"):
        run.write(rejections=bad(0))


def test_the_slower_of_two_writers_stops(session: WriteSession) -> None:
    """Before the first page and after it, by the version of the checkpoint; exit code 75."""
    first, second = Ingest(session), Ingest(session)
    first.write(customer("1", "a@x.com"))
    for _ in range(2):
        before = snapshot(session)
        with pytest.raises(SourceBusy, match="moved the checkpoint") as caught:
            second.write(customer("2", "b@x.com"))
        assert caught.value.exit_code == ExitCode.LOCKED
        assert snapshot(session) == before
        first, second = Ingest(session), Ingest(session)
        first.write(customer("1", "c@x.com"))


def test_a_dry_run_counts_and_changes_nothing(session: WriteSession) -> None:
    """Page after page."""
    run = Ingest(session)
    run.write(customer("1", "a@x.com"))
    before = snapshot(session)
    target = Target(
        session, run.tables, run.source, run.run_id, read_checkpoint(session, "crm"), dry_run=True
    )
    for number in (2, 3):
        rows = rows_of([customer("1", "a@x.com"), customer("2", "b@x.com")])
        assert counts(target.write_page(raw_page(number, 2), rows, [])) == (1, 0, 1, 0)
    assert snapshot(session) == before


@pytest.mark.parametrize("error", [Deadlock("a deadlock"), ConnectionLost("lost")])
def test_a_page_is_repeated_three_times(
    session: WriteSession, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Then the run ends with 69; with one failure less it goes on."""
    run = Ingest(session)
    failures = 4
    execute = session.execute

    def failing(sql: str, parameters: Any = ()) -> int:
        nonlocal failures
        if "etl_checkpoint" in sql and failures:
            failures -= 1
            raise error
        return execute(sql, parameters)

    monkeypatch.setattr(session, "execute", failing)
    before = snapshot(session)
    with pytest.raises(DatabaseUnavailable) as caught:
        run.write(customer("1", "a@x.com"))
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert failures == 0
    assert snapshot(session) == before

    failures = 3
    assert counts(run.write(customer("1", "a@x.com"))) == (1, 0, 0, 0)


def test_a_commit_whose_answer_was_lost_is_not_repeated(
    session: WriteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint says that the page was stored."""
    run = Ingest(session)
    attempt, lost = run.target._attempt, False

    def losing(*arguments: Any, **options: Any) -> Any:
        nonlocal lost
        outcome = attempt(*arguments, **options)
        if not lost:
            lost = True
            raise ConnectionLost("lost")
        return outcome

    monkeypatch.setattr(run.target, "_attempt", losing)
    assert counts(run.write(customer("1", "a@x.com"))) == (1, 0, 0, 0)
    assert counts(run.write(customer("1", "a@x.com"))) == (0, 0, 1, 0)
    assert read_checkpoint(session, "crm").version == 2


def test_another_program_may_write_the_same_customer(
    session: WriteSession, monkeypatch: pytest.MonkeyPatch, target_settings: DatabaseSettings
) -> None:
    """Between the look and the INSERT: the second look finds it."""
    if session.engine == "sqlite":
        pytest.skip("a transaction locks the whole file")
    run = Ingest(session, Source("shop"))
    other = open_writer(target_settings)
    execute, done = session.execute, False

    def racing(sql: str, parameters: Any = ()) -> int:
        nonlocal done
        if sql.startswith("INSERT INTO customers") and not done:
            done = True
            other.execute("INSERT INTO customers (email, plan_type) VALUES ('a@x.com', 'free')")
        return execute(sql, parameters)

    monkeypatch.setattr(session, "execute", racing)
    try:
        assert counts(run.write(customer("1", "a@x.com"))) == (0, 1, 0, 0)
    finally:
        other.close()


def test_a_real_deadlock_repeats_the_page(
    session: WriteSession, target_settings: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Two writers lock two customers in opposite order; the server stops one of them."""
    if session.engine == "sqlite":
        pytest.skip("a transaction locks the whole file")
    other = open_writer(target_settings)
    one, two = Ingest(session, Source("one")), Ingest(other, Source("two"))
    one.write(customer("1", "a@x.com"), customer("2", "b@x.com"))
    two.write(customer("1", "a@x.com"), customer("2", "b@x.com"))
    errors: list[Exception] = []

    def work(run: Ingest, order: str) -> None:
        try:
            for number in range(40):
                run.write(
                    *(
                        customer(key, f"{'ab'[int(key) - 1]}@x.com", first_name=f"{order}{number}")
                        for key in order
                    )
                )
        except Exception as error:  # noqa: BLE001  reported below
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(one, "12")),
        threading.Thread(target=work, args=(two, "21")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert errors == []
    assert one.target.counts.records == two.target.counts.records == 82


def test_a_killed_connection_repeats_the_page_under_the_same_lock(
    session: WriteSession, target_settings: DatabaseSettings
) -> None:
    """The session connects again and takes the lock of the source again."""
    if session.engine == "sqlite":
        pytest.skip("a file has no connection")
    with source_lock(session, "crm"):
        run = Ingest(session)
        run.write(customer("1", "a@x.com"))
        other = open_writer(target_settings)
        ((number,),) = session.query("SELECT CONNECTION_ID()")
        other.execute(f"KILL {number:d}")
        assert counts(run.write(customer("2", "b@x.com"))) == (1, 0, 0, 0)
        assert is_running(other, "crm")
        other.close()
    assert len(emails(session)) == 2


def test_only_one_run_holds_a_source(
    session: WriteSession, target_settings: DatabaseSettings
) -> None:
    """Another session is refused, another source is not; the lock goes with the session."""
    other = open_writer(target_settings)
    with source_lock(session, "crm"), source_lock(other, "web"):
        with (
            pytest.raises(SourceBusy, match="Another run is reading the source crm"),
            source_lock(other, "crm"),
        ):
            pass
        assert is_running(other, "crm")
    with source_lock(other, "crm"):
        assert is_running(session, "crm")
    assert not is_running(session, "crm")
    other.close()


def test_a_run_without_its_lock_has_crashed(session: WriteSession) -> None:
    """At once in the list, and in the table with the next run."""
    prepare_tables(session)
    first = start_run(session, "crm", "http", utc_now())
    assert [run.status for run in last_runs(session, "crm", 5)] == ["crashed"]
    with source_lock(session, "crm"):
        second = start_run(session, "crm", "http", utc_now())
        assert [(run.run_id, run.status) for run in last_runs(session, "crm", 5)] == [
            (second, "running"),
            (first, "crashed"),
        ]
        end_run(session, second, "failed", error=IngestError("no answer"), warnings=["a", "b"])
    found = find_run(session, second)
    assert found is not None
    assert (found.status, found.error_code, found.error_detail, found.warnings) == (
        "failed",
        "IngestError",
        "no answer",
        "a\nb",
    )
    assert found.finished_at is not None
    assert abs((found.finished_at - utc_now()).total_seconds()) < 60


def test_a_damaged_raw_page_is_reported(session: WriteSession) -> None:
    """And one that is gone."""
    run = Ingest(session)
    run.write(customer("1", "a@x.com"))
    session.execute("UPDATE etl_raw_data SET sha256 = %s", ("0" * 64,))
    with pytest.raises(IngestError, match="is damaged"):
        read_page(session, run.run_id, 1)
    with pytest.raises(IngestError, match="no longer stored"):
        read_page(session, run.run_id, 2)


def test_a_page_larger_than_a_packet_is_one_clear_line(
    session: WriteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a lost connection."""
    run = Ingest(session)
    monkeypatch.setattr(type(session), "max_packet", 10_000)
    with pytest.raises(Exception, match="more than the 10,000 that the server accepts"):
        run.write(customer("1", "a@x.com"))


def test_a_first_checkpoint_is_empty(session: WriteSession) -> None:
    """Version 0, no position."""
    Ingest(session)
    assert read_checkpoint(session, "crm") == Checkpoint()
