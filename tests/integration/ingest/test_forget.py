"""`python cli.py forget` as a real process: nothing of the person is left in any place."""

from __future__ import annotations

import gzip
import json
import shutil
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.core.exit_codes import ExitCode
from integration.database.writing import WriteSession, open_writer
from tests.support.cli_runs import environment_of, run_cli
from tests.support.runs import environment_for, run
from tests.support.traces import traces_in, traces_in_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db_connection import DatabaseSettings
    from sandbox.process import SandboxProcess
    from tests.support.runs import RunResult

OLD, NEW = "Grace.Old+x@Example.com", "grace.new@example.com"
FIRST, LAST = "Wilhelmine", "Zyxmännsson"
WORDS = ["grace.old", "grace.new", "wilhelmine", "zyxm"]
# A recent view of a page that Query 2 looks for.
TIME = f"{datetime.now(UTC) - timedelta(hours=3):%Y-%m-%d %H:%M:%S}"
SOURCES = """
[sources.crm]
entity = "customers"
kind = "http"
url = "{url}"
records = "data"
key = "id"
owns_ids = true
max_rejected_percent = 100
[sources.erp]
entity = "customers"
kind = "csv"
path = "source/customers.csv"
key = "ref"
max_rejected_percent = 100
[sources.web]
entity = "page_views"
kind = "csv"
path = "source/views.csv"
customer = "email"
max_rejected_percent = 100
[sources.app]
entity = "page_views"
kind = "jsonl"
path = "source/views.jsonl"
key = "event"
customer = "key"
customer_source = "crm"
max_rejected_percent = 100
"""


def customer(number: int, email: str, first: str, last: str) -> dict[str, object]:
    """A record of the API."""
    return {
        "id": number,
        "email": email,
        "first_name": first,
        "last_name": last,
        "plan_type": "pro",
        "candidate": "yes",
        "score": 1.50,
    }


class Crm:
    """An API with one page of customers, which can be changed."""

    def __init__(self) -> None:
        self.customers = [
            customer(1, "ada@example.com", "Ada", "Lovelace"),
            customer(2, OLD, FIRST, LAST),
            customer(3, "linus@example.com", "Linus", "Pauling"),
            # The address of another customer is a conflict.
            customer(9, OLD, "Double", LAST),
        ]
        crm = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = json.dumps({"data": crm.customers}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/customers"


@pytest.fixture
def crm() -> Iterator[Crm]:
    """The API, running."""
    api = Crm()
    thread = threading.Thread(target=api.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield api
    api.server.shutdown()
    thread.join()
    api.server.server_close()


class Installation:
    """Both programs in one working directory, with four sources."""

    def __init__(
        self, folder: Path, database: DatabaseSettings, crm: Crm, sandbox: SandboxProcess
    ) -> None:
        self.folder = folder
        self.database = database
        self.crm = crm
        self.sandbox = sandbox
        (folder / "sources.toml").write_text(SOURCES.format(url=crm.url))
        self.source = folder / "source"
        self.source.mkdir()
        self.write_files()

    def write_files(self) -> None:
        """The files of the sources; some of their records are rejected."""
        view = "pricing,mobile,Chrome,London"
        self.source.joinpath("customers.csv").write_text(
            "ref,email,first_name,last_name,plan_type\n"
            f"e1,ada@example.com,Ada,Lovelace,pro\ne2,{OLD},{FIRST},{LAST},gold\n"
            f'e3,linus@example.com,"Li\nnus",Pauling,pro\ne4,{OLD},{FIRST}\n'
            f"e5,{OLD.upper()},{FIRST},{LAST},pro\n"
        )
        self.source.joinpath("views.csv").write_text(
            "email,page,device,browser,location,event_time\n"
            f"ada@example.com,{view},{TIME}\n{OLD},{view},{TIME}\n"
            f"{OLD},checkout,mobile,Chrome,London,{TIME}\nlinus@example.com,{view},{TIME}\n"
        )
        views = [
            {"event": f"v{number}", "customer_key": key, "page": page, "event_time": TIME}
            for number, key, page in ((1, 1, "home"), (2, 2, "home"), (3, 2, "?"), (4, 3, "home"))
        ]
        views[3]["referred_by"] = OLD
        self.source.joinpath("views.jsonl").write_text("\n".join(map(json.dumps, views)) + "\n")

    def cli(self, *arguments: str) -> RunResult:
        """Run a command of cli.py."""
        return run_cli(self.folder, environment_of(self.database), *arguments)

    def main(self, *arguments: str, **variables: str) -> RunResult:
        """Run main.py."""
        is_file = self.database.engine == "sqlite"
        database = Path(self.database.name) if is_file else self.database
        environment = environment_for(self.folder, self.sandbox, database)
        return run(self.folder, environment | variables, *arguments)

    def refuse(self, email: str) -> None:
        """Let Iterable refuse the next call for this address, and quote it."""
        body = {"code": "BadParams", "msg": f"Invalid: {email}", "params": None}
        fault = {"kind": "status", "status": 400, "body": json.dumps(body)}
        self.sandbox.faults([{"endpoint": "users/update", "email": email, **fault}])

    def rename(self) -> None:
        """The person gets another address."""
        self.crm.customers[1] = customer(2, NEW, FIRST, LAST)
        self.crm.customers[3] = customer(9, "double@example.com", "Double", "Dutch")
        file = self.source / "customers.csv"
        file.write_text(file.read_text().replace(OLD, NEW).replace(OLD.upper(), NEW.upper()))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query on the target."""
        session = open_writer(self.database)
        try:
            return session.query(sql)
        finally:
            session.close()

    def traces(self) -> list[str]:
        """Where the person is still found."""
        found = traces_in(self.folder, WORDS)
        if self.database.engine == "mysql":
            found += traces_in_server(self.database, WORDS)
        return found


@pytest.fixture
def installation(
    tmp_path: Path,
    target_settings: DatabaseSettings,
    session: WriteSession,
    crm: Crm,
    sandbox: SandboxProcess,
) -> Installation:
    """Nothing has run yet; the database is empty."""
    session.close()
    return Installation(tmp_path, target_settings, crm, sandbox)


@pytest.fixture
def used(installation: Installation) -> Installation:
    """After two ingests and two deliveries, between which the person was renamed."""
    first = installation.cli("run")
    assert first.exit_code == ExitCode.SOME_FAILED, first.stderr
    installation.refuse(OLD)
    assert installation.main().exit_code == ExitCode.SOME_FAILED
    folder = installation.folder
    (folder / "run.log").rename(folder / "run.log.2")
    with (folder / "run.log.2").open("rb") as log, gzip.open(folder / "run.log.2.gz", "wb") as file:
        shutil.copyfileobj(log, file)
    installation.rename()
    assert installation.cli("run", "--full-refresh").exit_code == ExitCode.SOME_FAILED
    installation.refuse(NEW)
    assert installation.main().exit_code == ExitCode.SOME_FAILED
    for path in sorted(folder.glob("*_results_*")):
        shutil.copy(path, f"{path}.bak")
        with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb") as file:
            shutil.copyfileobj(plain, file)
    (folder / "run.log").rename(folder / "run.log.1")
    return installation


def erase_at_the_sources(installation: Installation) -> None:
    """What is the sources' is not the program's."""
    installation.crm.customers = [
        one for one in installation.crm.customers if one["id"] not in {2, 9}
    ]
    shutil.rmtree(installation.source)


def snapshot(installation: Installation) -> dict[str, bytes]:
    """All files but the log, to which every command adds, and what SQLite keeps beside a file."""
    return {
        str(path.relative_to(installation.folder)): path.read_bytes()
        for path in installation.folder.rglob("*")
        if path.is_file() and path.name != "run.log" and not path.name.endswith(("-wal", "-shm"))
    }


def test_nothing_of_the_person_is_left(used: Installation) -> None:
    """In no file, table, raw page, journal, log or backup; everything else works as before."""
    traces, files = used.traces(), snapshot(used)
    shown = used.cli("forget", NEW.upper())
    assert (shown.exit_code, shown.stderr) == (ExitCode.OK, "")
    assert "customer 2, crm key 2" in shown.stdout
    assert OLD.lower() in shown.stdout
    assert "Nothing was erased; to do it: python cli.py forget GRACE.NEW@" in shown.stdout
    assert used.traces() == traces
    assert snapshot(used) == files
    erase_at_the_sources(used)

    done = used.cli("forget", NEW.upper(), "--yes")

    assert (done.exit_code, done.stderr) == (ExitCode.OK, "")
    assert used.traces() == []
    for place in shown.stdout.splitlines()[1:10]:
        assert place in done.stdout
    assert f'POST /api/users/forget {{"email":"{OLD.lower()}"}}' in done.stdout
    again = used.cli("forget", NEW, "--yes")
    assert again.exit_code == ExitCode.OK
    assert again.stdout.splitlines()[-1] == f"{NEW} is in none of the places."
    check_the_others(used)


def check_the_others(used: Installation) -> None:
    """Each command works, and nothing about the others has changed."""
    counts = "SELECT run_id, records, inserted, updated, unchanged, rejected FROM etl_runs"
    status = used.main("--status")
    assert status.exit_code == ExitCode.OK
    assert "2 user(s)" not in status.stdout
    assert used.main("--retry-failed").exit_code == ExitCode.OK
    assert used.main("--resume").exit_code == ExitCode.OK
    verified = used.main("--verify", "all")
    assert verified.exit_code == ExitCode.OK, verified.stderr
    before = used.query(counts)
    assert used.query("SELECT id, email FROM customers ORDER BY id") == [
        (1, "ada@example.com"),
        (3, "linus@example.com"),
        (9, "double@example.com"),
    ]
    assert used.cli("rejected", "--retry").exit_code == ExitCode.OK
    assert "No rejected records." in used.cli("rejected").stdout
    for (number,) in used.query(
        "SELECT run_id FROM etl_runs WHERE source IN ('crm', 'erp', 'app')"
    ):
        replayed = used.cli("replay", str(number))
        assert replayed.exit_code == ExitCode.OK, replayed.stderr
    assert used.query(counts)[: len(before)] == before
    assert used.traces() == []
