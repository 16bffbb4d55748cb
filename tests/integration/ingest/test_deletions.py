"""What a complete read does with rows that the source no longer has, on each engine."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.core.shutdown import INTERRUPTIONS, Stop
from integration.database.writing import open_writer
from integration.ingest import deletions
from integration.ingest.counts import Counts
from integration.ingest.deletions import Deleted, delete_rows
from integration.ingest.errors import SourceError
from integration.ingest.links import add_links
from integration.ingest.locks import is_running
from integration.ingest.run import Workplace, run_source
from integration.ingest.run_rules import RunRequest
from integration.ingest.runs import Run, last_runs
from integration.ingest.source_file import parse_sources
from integration.ingest.tables import prepare_tables
from tests.conftest import ROOT
from tests.integration.ingest.test_run import Pages, StoppingPages, customer
from tests.support.ingest import links

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db_connection import DatabaseSettings
    from integration.database.writing import WriteSession
    from integration.ingest.models import RawRecord
    from integration.ingest.sources import Source

REFRESH = RunRequest(full_refresh=True)
TABLES: dict[str, dict[str, object]] = {
    "crm": {"entity": "customers", "key": "id", "owns_ids": True},
    "shop": {"entity": "customers", "key": "id"},
    "web": {"entity": "page_views", "key": "id"},
}
# Reads nothing but the first of many customers, with a batch for each of the others.
PROGRAM = """
import sys
from integration.core.shutdown import Stop
from integration.database.settings import DatabaseSettings
from integration.database.writing import open_writer
from integration.ingest import deletions
from integration.ingest.run import Workplace, run_source
from integration.ingest.tables import prepare_tables
from tests.integration.ingest.test_deletions import REFRESH, source_of
from tests.integration.ingest.test_run import Pages

deletions.ROWS_AT_ONCE = 1
deletions.MAX_MISSING_PERCENT = 100
engine, host, port, user, password, name = sys.argv[1:]
session = open_writer(
    DatabaseSettings(engine, (host,) if host else (), int(port), user, password, name)
)
workplace = Workplace(session, prepare_tables(session), Stop())
sys.exit(run_source(workplace, source_of("crm"), Pages([1]), REFRESH))
"""


def source_of(name: str, *, delete_missing: bool = True) -> Source:
    """One of `TABLES`."""
    table = {"kind": "csv", "path": "none.csv", "max_rejected_percent": 50}
    sources, mistakes = parse_sources(
        {name: {**table, **TABLES[name], "delete_missing": delete_missing}}
    )
    assert not mistakes
    return sources[0]


class Views(Pages):
    """A page with a view of customer 1 for each id."""

    def record(self, number: int) -> RawRecord:
        """Each has a time of its own."""
        time_ = f"2026-01-01 10:00:{number:02}"
        return {"id": number, "user_id": 1, "page": "home", "event_time": time_}


class Target:
    """The target, into which sources are read."""

    def __init__(self, session: WriteSession) -> None:
        self.session = session
        self.tables = prepare_tables(session)
        self.stop = Stop()

    def read(self, source: Source, reader: Pages, request: RunRequest = REFRESH) -> ExitCode:
        """Run a source."""
        return run_source(Workplace(self.session, self.tables, self.stop), source, reader, request)

    def run(self, name: str = "crm") -> Run:
        """The last run of a source."""
        return last_runs(self.session, name, 1)[0]

    def ids(self, table: str = "customers") -> list[int]:
        """The ids of its rows."""
        rows = self.session.query(f"SELECT id FROM {table} ORDER BY id")
        return [number for (number,) in rows]

    def add_views(self, *customers: int) -> None:
        """A view of each customer, as another program writes it."""
        for number in customers:
            self.session.execute(
                "INSERT INTO page_views (user_id, page, event_time)"
                " VALUES (%s, 'home', '2026-01-01 10:00:00')",
                (number,),
            )


@pytest.fixture
def target(session: WriteSession) -> Target:
    """With customers 1 to 20 of the source crm."""
    target = Target(session)
    assert target.read(source_of("crm"), Pages(range(1, 21)), RunRequest()) == ExitCode.OK
    return target


def without(*numbers: int) -> Pages:
    """All customers but these, on two pages."""
    kept = [number for number in range(1, 21) if number not in numbers]
    return Pages(kept[:10], kept[10:])


def test_rows_that_are_gone_are_deleted_with_their_page_views(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    """Up to a fifth; the deleted ones are not records that were read."""
    web = source_of("web")
    target.add_views(2, 2, 5)
    target.read(web, Views([1, 2]), RunRequest())
    caplog.set_level("INFO")

    assert target.read(source_of("crm"), without(2, 3, 4, 20)) == ExitCode.OK

    assert target.ids() == [1, *range(5, 20)]
    assert len(target.ids("page_views")) == 3
    assert {key for _, key in links(target.session)} == {str(number) for number in target.ids()}
    run = target.run()
    assert (run.status, run.missing, run.deleted, run.warnings) == ("completed", 4, 4, None)
    assert run.counts == Counts(records=16, unchanged=16)
    assert "crm: deleted 4 customers that the source no longer has and 2 page views" in caplog.text


def test_page_views_that_are_gone_are_deleted(target: Target) -> None:
    """The customers stay, and so do views of other programs."""
    web = source_of("web")
    target.add_views(1)
    target.read(web, Views(range(1, 11)), RunRequest())

    assert target.read(web, Views(range(2, 11))) == ExitCode.OK

    assert len(target.ids("page_views")) == 10
    assert ("web", "1") not in links(target.session, "page_views")
    assert (target.run("web").missing, target.run("web").deleted) == (1, 1)
    assert len(target.ids()) == 20


def test_views_of_other_sources_go_with_their_customer(target: Target) -> None:
    """And what connects them with their source."""
    target.read(source_of("web"), Views([1, 2]), RunRequest())

    target.read(source_of("crm"), without(1))

    assert target.ids("page_views") == []
    assert links(target.session, "page_views") == {}


def test_without_delete_missing_they_are_only_counted(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning."""
    source = source_of("crm", delete_missing=False)

    assert target.read(source, without(2)) == ExitCode.OK

    text = "crm: the source no longer has 1 record that it had before; nothing was deleted"
    assert (target.run().missing, target.run().deleted, target.run().warnings) == (1, 0, text)
    assert text in caplog.text
    assert len(target.ids()) == 20


@pytest.mark.parametrize("pages", [without(2, 3, 4, 5, 6), Pages([]), Pages([*range(101, 200)])])
def test_more_than_a_fifth_is_an_error(
    target: Target, pages: Pages, caplog: pytest.LogCaptureFixture
) -> None:
    """Of what was stored before; new records do not count. Nothing is deleted."""
    code = target.read(source_of("crm"), pages)

    assert code == ExitCode.UNAVAILABLE
    assert set(range(1, 21)) <= set(target.ids())
    run = target.run()
    assert (run.status, run.error_code, run.deleted) == ("failed", "TooManyMissing", 0)
    assert f"no longer has {run.missing} of 20 stored customers, more than 20 %" in caplog.text
    assert (run.missing or 0) >= 5


def test_a_customer_of_another_source_loses_only_the_link(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    """Until the other source no longer has it either."""
    shop = source_of("shop")
    target.read(shop, Pages(range(1, 11)), RunRequest())
    caplog.set_level("INFO")

    target.read(source_of("crm"), without(2, 12))

    assert 2 in target.ids()
    assert 12 not in target.ids()
    found = links(target.session)
    assert ("shop", "2") in found
    assert ("crm", "2") not in found
    assert (target.run().missing, target.run().deleted) == (2, 1)
    assert "1 are kept, as another source has them" in caplog.text
    target.read(shop, Pages([1, *range(3, 11)]))
    assert 2 not in target.ids()


def test_rows_of_no_source_are_never_deleted(target: Target) -> None:
    """Whatever other programs have stored."""
    target.session.execute("INSERT INTO customers (id, email, plan_type) VALUES (99, 'x@y', 'pro')")

    target.read(source_of("crm"), without(2))

    assert 99 in target.ids()
    assert 2 not in target.ids()


@pytest.mark.parametrize(
    ("request_", "reader"),
    [
        (RunRequest(), without(2)),
        (RunRequest(full_refresh=True, limit=19), without(2)),
        (REFRESH, Pages(range(3, 21), error=SourceError("the file was cut off"))),
    ],
)
def test_a_read_that_is_not_complete_deletes_nothing(
    target: Target, request_: RunRequest, reader: Pages
) -> None:
    """Nor does it know what is missing."""
    target.read(source_of("crm"), reader, request_)

    assert len(target.ids()) == 20
    assert (target.run().missing, target.run().deleted) == (None, 0)


def test_a_run_that_was_stopped_deletes_nothing(target: Target) -> None:
    """Also when the signal came with the last page."""
    target.read(source_of("crm"), StoppingPages(target.stop, range(2, 21)))

    assert len(target.ids()) == 20
    assert (target.run().status, target.run().missing) == ("stopped", None)


def test_a_stop_ends_the_deletion_after_its_batch(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next full refresh deletes the others."""
    monkeypatch.setattr(deletions, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(target.session, "execute", _stopping(target))

    target.read(source_of("crm"), without(2, 3))

    assert target.ids() == [1, *range(3, 21)]
    assert (target.run().status, target.run().missing, target.run().deleted) == ("stopped", 2, 1)
    target.stop = Stop()
    target.read(source_of("crm"), without(2, 3))
    assert (target.run().missing, target.run().deleted) == (1, 1)


def _stopping(target: Target) -> object:
    execute = target.session.execute

    def stopping(sql: str, parameters: Sequence[object] = ()) -> int:
        if sql.startswith("DELETE FROM customers"):
            target.stop.request(INTERRUPTIONS[signal.SIGTERM])
        return execute(sql, parameters)

    return stopping


def test_a_dry_run_deletes_nothing(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    """And says what is missing."""
    target.read(source_of("crm"), without(2), RunRequest(full_refresh=True, dry_run=True))

    assert len(target.ids()) == 20
    assert "no longer has 1 record that it had before; nothing was deleted in this" in caplog.text


class Rejected(Pages):
    """All customers but 2, and for it a record that is rejected."""

    key: object = 2

    def __init__(self, key: object) -> None:
        super().__init__(range(1, 21))
        self.key = key

    def record(self, number: int) -> RawRecord:
        """Without a plan, and with this key."""
        return customer(number) if number != 2 else {"id": self.key, "email": "x@example.com"}


@pytest.mark.parametrize("key", [2, "2", " 002 "])
def test_a_rejected_record_is_not_missing(target: Target, key: object) -> None:
    """However its key is written."""
    assert target.read(source_of("crm"), Rejected(key)) == ExitCode.SOME_FAILED

    assert len(target.ids()) == 20
    assert (target.run().missing, target.run().warnings) == (0, None)


@pytest.mark.parametrize("key", [None, "", "x", 2.0])
def test_a_rejected_record_without_a_key_may_be_any(target: Target, key: object) -> None:
    """Nothing is deleted until it can be read."""
    assert target.read(source_of("crm"), Rejected(key)) == ExitCode.SOME_FAILED

    assert len(target.ids()) == 20
    assert "1 record with an unreadable key may be among these" in (target.run().warnings or "")


def test_rows_that_other_tables_refer_to_are_an_error(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line that says what to do; no batch is done by half."""
    target.session.execute(
        "CREATE TABLE orders (customer INT, FOREIGN KEY (customer) REFERENCES customers (id))"
    )
    target.session.execute("INSERT INTO orders VALUES (3)")
    target.add_views(2)

    assert target.read(source_of("crm"), without(2, 3)) == ExitCode.UNAVAILABLE

    assert "declare its foreign key ON DELETE CASCADE, or delete its rows first" in caplog.text
    assert len(target.ids()) == len(links(target.session)) == 20
    assert len(target.ids("page_views")) == 1
    assert (target.run().status, target.run().missing, target.run().deleted) == ("failed", 2, 0)


def test_a_source_that_connects_with_a_row_meanwhile_keeps_it(
    target: Target, target_settings: DatabaseSettings
) -> None:
    """The deletion waits for its page, and sees it."""
    other = open_writer(target_settings)
    results: list[Deleted] = []
    run_id = target.run().run_id
    deletion = threading.Thread(
        target=lambda: results.append(delete_rows(target.session, source_of("crm"), run_id, [2, 3]))
    )
    with other.transaction():
        other.query("SELECT c.id FROM customers c WHERE id = 2" + other.dialect.for_update("c"))
        deletion.start()
        time.sleep(0.3)
        add_links(other, "shop", "customers", run_id, [("two", 2)])
    deletion.join()
    other.close()

    assert results == [Deleted(rows=1, kept=1)]
    assert 2 in target.ids()


def test_a_kill_leaves_no_row_without_its_link(
    target: Target, target_settings: DatabaseSettings
) -> None:
    """Nor a link without its row; the count of the run is exact."""
    session = target.session
    target.read(source_of("crm"), Pages(range(1, 2001)), RunRequest())
    host = target_settings.hosts[0] if target_settings.hosts else ""
    login = [target_settings.engine, host, str(target_settings.port), target_settings.user]
    arguments = [*login, target_settings.password, target_settings.name]
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT) as process:
        while len(target.ids()) == 2000:
            assert process.poll() is None
        process.kill()
    while is_running(session, "crm"):
        time.sleep(0.05)

    left = target.ids()
    run = target.run()
    assert 1 < len(left) < 2000
    assert (run.status, run.missing, run.deleted) == ("crashed", 1999, 2000 - len(left))
    assert sorted(links(session).values()) == left
