"""Rejected records are stored when it has become possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from integration.database.writing import open_writer
from integration.ingest.counts import Counts
from integration.ingest.locks import source_lock
from integration.ingest.models import Rejection, ValidRow
from integration.ingest.rejections import open_pages
from integration.ingest.retry import Retry, Stored, retry_unknown_customers
from integration.ingest.runs import last_runs
from tests.support.ingest import Ingest, Source, customer, raw_page, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db_connection import DatabaseSettings
    from integration.database.writing import WriteSession

WEB = Source("web", "page_views")


def decode(content: bytes, origin: str) -> tuple[Sequence[ValidRow], Sequence[Rejection]]:
    """Records as JSON; those without an email are rejected."""
    assert origin == "https://crm.example.com/api"
    rows, rejections = [], []
    for index, record in enumerate(orjson.loads(content)):
        if record["email"]:
            rows.append(ValidRow(index, None, record))
        else:
            rejections.append(Rejection(index, None, "missing", "email", "is required"))
    return rows, rejections


def stored(run: Ingest, source: Source) -> Stored:
    """What was stored of this source."""
    return Stored(session=run.session, tables=run.tables, source=source, decode=decode)


def write_views(session: WriteSession, *emails: str) -> None:
    """A page of views of these customers."""
    records: list[dict[str, object]] = [
        {"email": email, "page": "home", "event_time": "2026-03-01 12:00:00"} for email in emails
    ]
    run = Ingest(session, WEB, "csv")
    run.write(*((None, record) for record in records), content=orjson.dumps(records))


def views(session: WriteSession) -> list[str]:
    """The emails of the customers who have a view."""
    rows = session.query(
        "SELECT c.email FROM page_views v JOIN customers c ON c.id = v.user_id ORDER BY c.email"
    )
    return [email for (email,) in rows]


def test_views_are_stored_when_their_customers_have_arrived(session: WriteSession) -> None:
    """In a run of their own; the others stay open, and nothing is recorded without a change."""
    write_views(session, "a@x.com", "b@x.com")
    write_views(session, "b@x.com", "c@x.com")
    crm = Ingest(session, Source("crm"))
    assert retry_unknown_customers(session, [stored(crm, WEB)]) == {"web": Counts()}
    assert len(last_runs(session, "web", 5)) == 2

    crm.write(customer("1", "a@x.com"), customer("2", "b@x.com"))
    found = retry_unknown_customers(session, [stored(crm, WEB)])

    assert found == {"web": Counts(records=3, inserted=2, unchanged=1)}
    assert views(session) == ["a@x.com", "b@x.com"]
    (last, *_) = last_runs(session, "web", 5)
    assert (last.kind, last.status, last.counts) == ("retry", "completed", found["web"])
    assert [page.positions for page in open_pages(session)] == [(1,)]
    resolved = session.query(
        "SELECT COUNT(*) FROM etl_rejected WHERE resolved_run = %s", (last.run_id,)
    )
    assert resolved == [(3,)]


def test_a_source_that_is_running_is_left_to_a_later_run(
    session: WriteSession, target_settings: DatabaseSettings
) -> None:
    """Its lock is held."""
    write_views(session, "a@x.com")
    crm = Ingest(session, Source("crm"))
    crm.write(customer("1", "a@x.com"))
    other = open_writer(target_settings)
    with source_lock(other, "web"):
        assert retry_unknown_customers(session, [stored(crm, WEB)]) == {}
    other.close()
    assert views(session) == []


@pytest.mark.parametrize("code", [None, "conflict"])
def test_any_rejection_can_be_retried(session: WriteSession, code: str | None) -> None:
    """A conflict that is no longer one; one that is another mistake now gets its new code."""
    shop = Source("shop")
    run = Ingest(session, shop)
    run.write(customer("1", "a@x.com"))
    records = [
        {"email": "a@x.com", "plan_type": "pro"},
        {"email": "", "plan_type": "pro"},
    ]
    rejections = [
        Rejection(0, "2", "conflict", "email", ""),
        Rejection(1, "3", "type", "email", ""),
    ]
    run.write(rejections=rejections, content=orjson.dumps(records))
    run.write(customer("1", "new@x.com"))

    counts = Retry(stored(run, shop)).run(code)  # type: ignore[arg-type]

    assert counts.inserted == 1
    # Links name the run that has the raw page, and not the retry.
    assert set(session.query("SELECT run_id FROM etl_records")) == {(run.run_id,)}
    assert counts.rejected == (1 if code is None else 0)
    found = session.query("SELECT position, code FROM etl_rejected WHERE resolved_run IS NULL")
    assert found == [(1, "missing" if code is None else "type")]


def test_a_page_that_is_no_longer_stored_stays_open(
    session: WriteSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning says so."""
    write_views(session, "a@x.com")
    crm = Ingest(session, Source("crm"))
    crm.write(customer("1", "a@x.com"))
    session.execute("DELETE FROM etl_raw_data")
    assert retry_unknown_customers(session, [stored(crm, WEB)]) == {"web": Counts()}
    assert "no longer stored" in caplog.text
    assert len(open_pages(session)) == 1


def test_a_newer_record_settles_the_rejection_of_an_older_one(session: WriteSession) -> None:
    """Else a retry would store what the source has replaced since."""
    run = Ingest(session, Source("crm"))
    run.write(customer("1", "a@x.com"), customer("2", "b@x.com"))
    foreign = {"email": "b@x.com", "first_name": "old", "plan_type": "pro"}
    run.write(("1", dict(foreign)), content=orjson.dumps([foreign]))
    assert len(open_pages(session)) == 1

    later = Ingest(session, Source("crm"))
    later.write(customer("1", "a@x.com", first_name="new"))
    later.write(customer("2", "c@x.com"))

    assert open_pages(session) == []
    assert Retry(stored(run, Source("crm"))).run() == Counts()
    assert session.query("SELECT first_name FROM customers WHERE email = 'a@x.com'") == [("new",)]
    ((resolved,),) = session.query("SELECT resolved_run FROM etl_rejected")
    assert resolved == later.run_id


def test_a_record_that_is_rejected_again_is_open_once(session: WriteSession) -> None:
    """A source sends it in each run until it has a newer one; other sources are not concerned."""
    bad = Rejection(0, "1", "type", "email", "")
    other = Ingest(session, Source("shop"))
    other.write(rejections=[bad])
    for _ in range(3):
        run = Ingest(session, Source("crm"))
        run.write(rejections=[bad])

    assert [page.run_id for page in open_pages(session)] == [other.run_id, run.run_id]


def test_records_with_the_same_wrong_key_are_not_the_same_record(session: WriteSession) -> None:
    """Each of them stays open."""
    for _ in range(2):
        run = Ingest(session, Source("crm"))
        run.write(rejections=[Rejection(0, "-1", "out_of_range", "id", "")])
        run.write(rejections=[Rejection(0, "-1", "out_of_range", "key", "")])
    assert len(open_pages(session)) == 4


def test_the_last_record_of_a_page_decides_whether_its_key_is_rejected(
    session: WriteSession,
) -> None:
    """The first one is no longer open if a later one was stored, and the other way round."""
    run = Ingest(session, Source("crm"))
    page, rows = raw_page(1, 2), rows_of([customer("1", "a@x.com")])
    run.target.write_page(
        page, [rows[0]._replace(index=1)], [Rejection(0, "1", "type", "email", "")]
    )
    assert open_pages(session) == []
    run.target.write_page(raw_page(2, 2), rows, [Rejection(1, "1", "type", "email", "")])
    assert [page.positions for page in open_pages(session)] == [(1,)]
