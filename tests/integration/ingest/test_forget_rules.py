"""Whose data `forget` erases, what it does when it cannot, and how it goes on after a kill."""

from __future__ import annotations

import json
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from integration.core.exit_codes import ExitCode
from integration.core.shutdown import INTERRUPTIONS, Stop
from integration.database.writing import open_writer
from integration.ingest import forget as steps
from integration.ingest.errors import SourceBusy
from integration.ingest.forget import Places, forget
from integration.ingest.forget_pages import RawPages
from integration.ingest.kinds.readers import open_reader
from integration.ingest.locks import source_lock
from integration.ingest.models import Rejection
from integration.journal.lock import hold_lock
from integration.journal.store import Journal
from tests.support.cli_runs import environment_of, start_cli
from tests.support.ingest import Ingest, Source, customer, emails
from tests.support.journals import completed_run
from tests.support.runs import finish, wait_until
from tests.support.sources import source_of
from tests.support.traces import has_word, traces_in, traces_in_server
from tests.support.users import page_view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from db_connection import DatabaseSettings
    from integration.database.writing import WriteSession

OLD, NEW, OTHER = "old@example.com", "new@example.com", "other@example.com"
CRM = Source("crm", owns_ids=True)
CONFIGURED = source_of("http", "customers", key="id", owns_ids=True)
SOURCES_TOML = """
[sources.crm]
entity = "customers"
kind = "http"
url = "http://127.0.0.1:9/"
key = "id"
owns_ids = true
"""


class Home:
    """A working directory, and a database with one source of customers."""

    def __init__(self, folder: Path, session: WriteSession, settings: DatabaseSettings) -> None:
        self.folder = folder / "home"
        self.folder.mkdir()
        self.session = session
        if settings.engine == "sqlite":
            session.query("PRAGMA secure_delete = OFF")  # some systems' SQLite has it on
        self.settings = settings
        self.database_folder = folder
        self.places = Places(
            session,
            [CONFIGURED],
            partial(open_reader, secrets={}),
            self.folder / "run.log",
            self.folder / "journal.db",
            self.folder,
        )

    def store(self, *records: tuple[int, str], conflicts: tuple[int, ...] = ()) -> None:
        """A run that reads customers; those at some positions are rejected."""
        content = json.dumps([{"id": number, "email": email} for number, email in records])
        run = Ingest(self.session, CRM)
        run.write(
            *(
                customer(str(number), email)
                for place, (number, email) in enumerate(records)
                if place not in conflicts
            ),
            rejections=[
                Rejection(place, str(records[place][0]), "conflict", "email", "")
                for place in conflicts
            ],
            content=content.encode(),
        )

    def forget(self, email: str, *, erase: bool = True) -> str:
        """Run the command."""
        return "\n".join(forget(self.places, email, Stop(), erase=erase))

    def traces(self, *words: str) -> list[str]:
        """Where these addresses still are."""
        found = traces_in(self.database_folder, words)
        if self.settings.engine == "mysql":
            found += traces_in_server(self.settings, words)
        return found

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.session.query(sql)


@pytest.fixture
def home(tmp_path: Path, session: WriteSession, target_settings: DatabaseSettings) -> Home:
    """Nothing is stored yet."""
    return Home(tmp_path, session, target_settings)


def test_records_with_an_earlier_address_are_found_by_the_key(home: Home) -> None:
    """And so is that address in the log."""
    home.store((7, OLD), (8, OTHER))
    home.store((7, NEW), (8, OTHER))
    home.places.log_file.write_text(f"Not verified: {OLD}\nVerified: {OTHER}\n")

    shown = home.forget(NEW.upper())

    assert f"Also found by: {NEW}" not in shown
    assert f"{OLD}, customer 7, crm key 7" in shown
    assert home.traces(OLD, NEW) == []
    assert emails(home.session) == {8: OTHER}
    assert home.places.log_file.read_text().endswith(f"\nVerified: {OTHER}\n")
    assert home.query("SELECT source_key FROM etl_records") == [("8",)]


def test_a_customer_who_had_the_address_before_stays(home: Home) -> None:
    """Their current address is named: erasing them is another decision."""
    home.store((7, OLD))
    home.store((7, NEW))

    shown = home.forget(OLD)

    assert f"python cli.py forget {NEW} --yes" in shown
    assert home.traces(OLD) == []
    assert emails(home.session) == {7: NEW}


def test_an_address_that_another_customer_has_now_stays_theirs(home: Home) -> None:
    """Records of the person are found by the key, whatever address they have."""
    home.store((7, OLD))
    home.store((7, NEW))
    home.store((8, OLD))

    shown = home.forget(NEW)

    assert f"python cli.py forget {OLD} --yes" in shown
    assert emails(home.session) == {8: OLD}
    assert home.traces(NEW) == []
    pages = home.query("SELECT content FROM etl_raw_data ORDER BY run_id")
    assert [has_word(content, [OLD]) for (content,) in pages] == [False, False, True]


def test_a_conflicting_record_does_not_lead_to_its_customer(home: Home) -> None:
    """It has the person's address, but another customer's key."""
    home.store((7, NEW), (9, NEW), conflicts=(1,))
    home.store((9, OTHER))
    home.store((10, NEW), conflicts=(0,))
    home.store((10, "third@example.com"), conflicts=(0,))

    home.forget(NEW)

    assert emails(home.session) == {9: OTHER}
    assert home.query("SELECT source_key FROM etl_rejected") == [("10",)]
    assert home.traces("third@example.com")
    assert home.traces(NEW) == []


def test_without_a_customer_records_are_found_by_address_and_key(home: Home) -> None:
    """Another program may have deleted the row."""
    home.store((7, OLD))
    home.store((7, NEW))
    home.session.execute("DELETE FROM customers")

    shown = home.forget(NEW)

    assert "crm key 7" in shown
    assert home.traces(OLD, NEW) == []
    assert home.query("SELECT * FROM etl_records") == []


def test_pages_that_cannot_be_decoded_are_searched_as_text(home: Home) -> None:
    """Their source was removed, or is configured in another way now; one is damaged."""
    home.store((7, NEW), (8, OTHER))
    home.store((7, NEW))
    home.session.execute("UPDATE etl_raw_data SET sha256 = 'x' WHERE run_id = 2")
    places = Places(
        home.session,
        [],
        home.places.open_reader,
        *(home.folder / name for name in ("run.log", "journal.db", "")),
    )

    lines = forget(places, NEW, Stop(), erase=True)

    assert any("Cannot be searched: Page 1 of run 2 is damaged" in line for line in lines)
    assert emails(home.session) == {8: OTHER}
    home.session.execute("DELETE FROM etl_raw_data WHERE run_id = 2")
    assert home.traces(NEW) == []


def test_an_address_that_is_nowhere(home: Home) -> None:
    """An accent makes another address, whatever the database's collation says."""
    home.store((7, "josé@example.com"))

    for erase in (False, True):
        assert home.forget("jose@example.com", erase=erase).startswith(
            "jose@example.com is in none of the places."
        )
    assert emails(home.session) == {7: "josé@example.com"}
    assert "customer 7" in home.forget("JOSÉ@example.com", erase=False)


def test_a_database_without_an_ingest_needs_no_etl_tables(home: Home) -> None:
    """And gets none."""
    home.session.execute(f"INSERT INTO customers (id, email, plan_type) VALUES (7, '{NEW}', 'pro')")
    home.session.execute(
        "INSERT INTO page_views (user_id, page, event_time) VALUES (7, 'home', '2026-01-01')"
    )

    assert "page_views: 1 row" in home.forget(NEW, erase=False)
    home.forget(NEW)

    assert home.query("SELECT * FROM page_views") == home.query("SELECT * FROM customers") == []
    with pytest.raises(Exception, match="etl_runs"):
        home.query("SELECT * FROM etl_runs")


def test_nothing_is_erased_while_a_run_is_in_progress(home: Home) -> None:
    """Of either program; looking is allowed."""
    home.store((7, NEW))
    other = open_writer(home.settings)
    with source_lock(other, "crm"):
        with pytest.raises(SourceBusy, match="source crm"):
            home.forget(NEW)
        assert "customers: 1 row" in home.forget(NEW, erase=False)
    other.close()
    with hold_lock(home.places.journal_file), pytest.raises(SourceBusy, match=r"main\.py"):
        home.forget(NEW)
    assert emails(home.session) == {7: NEW}


class Killed(BaseException):
    """The process ends here."""


def kill(*_: object, **__: object) -> None:
    """End here."""
    raise Killed


@pytest.fixture
def full(home: Home) -> Home:
    """The person is in all places, under two addresses that only raw pages connect."""
    home.store((7, OLD), (8, OTHER))
    home.store((7, NEW), (8, OTHER))
    with Journal(home.places.journal_file) as journal:
        completed_run(journal, [page_view(70, OLD), page_view(8, OTHER), page_view(7, NEW)])
    home.places.log_file.write_text(f"{OLD}\n{NEW}\n{OTHER}\n")
    (home.folder / "query_results_1.csv").write_text(f"id,email\n70,{OLD}\n7,{NEW}\n")
    return home


@pytest.mark.parametrize(
    "step",
    ["rejected_of", "find_traces", "erase_traces", "find_files", "overwrite", "delete_rows"],
)
def test_an_erasure_that_was_killed_is_finished_by_the_same_command(
    full: Home, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Wherever it was: what is known of the person outlives what is erased."""
    with monkeypatch.context() as patched:
        patched.setattr(steps, step, kill)
        with pytest.raises(Killed):
            full.forget(NEW)
    assert full.traces(OLD, NEW)

    full.forget(NEW)

    assert full.traces(OLD, NEW) == []
    assert emails(full.session) == {8: OTHER}
    assert [path.name for path in full.folder.glob("*forget*")] == []


@pytest.mark.parametrize("method", ["discard_remains", "store"])
def test_so_is_one_that_was_killed_in_the_database(
    full: Home, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """After the rows were deleted, or between two raw pages."""
    target: Any = RawPages if method == "store" else type(full.session)
    store: Callable[..., None] = getattr(target, method)

    def kill_after(*arguments: object) -> None:
        store(*arguments)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(target, method, kill_after)
        with pytest.raises(Killed):
            full.forget(NEW)

    full.forget(NEW)

    assert full.traces(OLD, NEW) == []


def test_a_signal_ends_an_erasure_between_two_pages(full: Home) -> None:
    """The answer says how to finish it."""
    stop = Stop()
    stop.request(INTERRUPTIONS[signal.SIGTERM])

    lines = forget(full.places, NEW, stop, erase=True)

    assert lines == [f"Not finished; to finish it: python cli.py forget {NEW} --yes"]
    full.forget(NEW)
    assert full.traces(OLD, NEW) == []


def test_a_process_that_was_killed(full: Home) -> None:
    """With kill -9, while it rewrites raw pages."""
    for _ in range(30):
        full.store((7, NEW), (8, OTHER))
    (full.folder / "sources.toml").write_text(SOURCES_TOML)
    environment = environment_of(full.settings) | {"JOURNAL_FILE": "journal.db"}
    command = ("forget", NEW, "--yes")
    process = start_cli(full.folder, environment, *command)
    wait_until(process, lambda: any(full.folder.glob("journal.db.forget-*")), 0.001)
    process.kill()
    assert finish(full.folder, process).exit_code == -signal.SIGKILL
    assert full.traces(OLD, NEW)

    done = finish(full.folder, start_cli(full.folder, environment, *command))

    assert (done.exit_code, done.stderr) == (ExitCode.OK, "")
    assert full.traces(OLD, NEW) == []
