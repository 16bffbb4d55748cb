"""`cli.py serve` as a real process, on data with runs of a source, deliveries and odd names."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import threading
from base64 import b64encode
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from integration.core.clock import utc_now
from integration.database.writing import open_writer
from integration.ingest.models import Rejection
from integration.ingest.runs import end_run, start_run
from integration.journal.store import Journal
from tests.support.cli_runs import environment_of, start_cli
from tests.support.ingest import Ingest, Source, customer
from tests.support.journals import completed_run
from tests.support.runs import wait_until
from tests.support.users import page_view

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from db_connection import DatabaseSettings

CUSTOMERS = 60
# First names that a page, a query, a spreadsheet or a terminal could take for something else.
ODD_NAMES = {
    "html@example.com": "<script>alert(1)</script>",
    "sql@example.com": "'; DROP TABLE customers; --",
    "formula@example.com": '=HYPERLINK("http://evil.example.com")',
    "rtl@example.com": "\u202eadA \u05d0\u05d3\u05d4",
    "wide@example.com": "Ada \U0001f469\u200d\U0001f4bb\U00020bb7",
    "like@example.com": "100%_!",
}
SOURCES = """
[sources.crm]
entity = "customers"
kind = "csv"
path = "customers.csv"
[sources.web]
entity = "page_views"
kind = "csv"
path = "views.csv"
"""


class Answer(NamedTuple):
    """An answer of the window."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass
class Window:
    """A running window.

    Attributes:
        folder: its working directory, with log and journal.
        database: what it reads.
        token: what it asks for.
    """

    folder: Path
    database: DatabaseSettings
    process: subprocess.Popen[str]
    port: int
    token: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask; header names are written with _ for -."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {self.token}"
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as client:
            client.request(method, quote(path, safe="/?&=%@:+-_.,~"), headers=sent)
            response = client.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """The pages of a list, by cursor."""
        page = self.get(path).json
        yield page
        while cursor := page["next_cursor"]:
            page = self.get(f"{path}{'&' if '?' in path else '?'}cursor={cursor}").json
            yield page

    @property
    def log(self) -> str:
        """The log file."""
        return (self.folder / "run.log").read_text(encoding="utf-8")


def basic(password: str) -> str:
    """A header with any user name."""
    return f"Basic {b64encode(f'anybody:{password}'.encode()).decode()}"


@contextmanager
def serving(
    folder: Path, database: DatabaseSettings, *arguments: str, **variables: str
) -> Iterator[Window]:
    """Start a window on a free port, and end it."""
    (folder / "sources.toml").write_text(SOURCES, encoding="utf-8")
    environment = environment_of(database) | {"LOG_LEVEL": "WARNING", **variables}
    process = start_cli(folder, environment, "serve", "--port", "0", *arguments)
    try:
        log = folder / "run.log"
        place = re.compile(r"The window is at http://\S+?:(\d+)/")

        def found() -> list[str]:
            return place.findall(log.read_text(encoding="utf-8")) if log.exists() else []

        started = len(found())
        wait_until(process, lambda: len(found()) > started)
        port = int(found()[-1])
        yield Window(folder, database, process, port, variables.get("SERVICE_TOKEN"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def fill(folder: Path, database: DatabaseSettings) -> None:
    """Customers of a source, two of its runs with rejected records, and three deliveries."""
    with closing(open_writer(database)) as session:
        session.execute("DELETE FROM page_views WHERE user_id > 3")
        session.execute("DELETE FROM customers WHERE id > 3")
        run = Ingest(session, Source("crm"), "csv")
        plain = [
            customer(str(n), f"user{n}@example.com", first_name="Ada", last_name="Lovelace")
            for n in range(1, CUSTOMERS + 1)
        ]
        odd = [
            customer(email, email, first_name=name, last_name="Odd")
            for email, name in ODD_NAMES.items()
        ]
        rejections = [
            Rejection(CUSTOMERS + n, str(900 + n), "missing", "email", "must be there")
            for n in range(5)
        ]
        run.write(*plain, rejections=rejections)
        run.write(*odd)
        end_run(session, run.run_id, "completed")
        failed = start_run(session, "web", "csv", utc_now())
        end_run(session, failed, "failed", error=ValueError("the file <views.csv> is gone"))
    with Journal(folder / "iterable_journal.db") as journal:
        views = [page_view(n) for n in range(1, 31)]
        odd_views = [
            page_view(100 + n, email)._replace(first_name=name)
            for n, (email, name) in enumerate(ODD_NAMES.items())
        ]
        completed_run(journal, views)
        completed_run(journal, views[5:] + odd_views, [(3, "users_update"), (4, "events_track")])
        completed_run(
            journal, views, reached=10, status="stopped", stop_reason="Iterable is away: wait"
        )


def checksums(folder: Path) -> dict[str, str]:
    """The files of journal and database; a window neither changes nor adds one."""
    names = [path for path in folder.iterdir() if ".db" in path.name]
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in names}


class Line:
    """A port that leads to another one until it is cut, and again when it is restored."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._accept()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=[self._listener], daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=ends, daemon=True).start()

    @staticmethod
    def _forward(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End all connections, and refuse others."""
        for one in [self._listener, *self._open]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def restore(self) -> None:
        """Accept connections again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._accept()
