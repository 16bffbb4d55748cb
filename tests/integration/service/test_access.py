"""Who may read the window, and how it starts and ends."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.service.html_paths import ASSETS
from tests.support.cli_runs import environment_of, run_cli
from tests.support.runs import finish
from tests.support.window import SOURCES, Window, basic, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from db_connection import DatabaseSettings

TOKEN = "a-token-of-the-tests"
PATHS = ["/", "/health", "/data", "/people/user1@example.com", "/openapi.json", "/nope"]


@pytest.fixture(scope="module")
def guarded(sqlite_filled: tuple[Path, DatabaseSettings]) -> Iterator[Window]:
    """A window with a token, which these tests send themselves, for all addresses."""
    with serving(*sqlite_filled, "--host", "0.0.0.0", SERVICE_TOKEN=TOKEN) as window:
        window.token = None
        yield window


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "header",
    [
        None,
        "Bearer",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        basic("wrong"),
        f"Token {TOKEN}",
        "Bearer \xe9",
    ],
)
def test_without_the_token_there_is_nothing(guarded: Window, path: str, header: str | None) -> None:
    """Not even whether a path exists; browsers are asked for it."""
    answer = guarded.get(path, **({"Authorization": header} if header else {}))

    assert answer.status == 401
    assert "Basic" in answer.headers["www-authenticate"]
    assert answer.json["title"] == "Unauthorized"


def test_no_path_but_live_answers_without_the_token(guarded: Window) -> None:
    """Those of the OpenAPI document, pages, files, and what does not exist; with any method."""
    document = guarded.get("/openapi.json", Authorization=f"Bearer {TOKEN}").json
    files = ["/docs", "/openapi.json", *(f"/assets/{name}" for name in ASSETS)]
    pages = ["/", "/find", "/page/runs", "/page/runs/delivery-1", "/page/people/a@example.com"]
    odd = ["//live", "/live/", "/LIVE", "/live/../data", "/%6cive", "/assets/nope", "/nope"]
    paths = [*document["paths"], *files, *pages, *odd]
    assert len(paths) == len(set(paths)) > 25

    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        answered = {path for path in paths if guarded.get(path, method).status != 401}
        assert answered <= {"/live", "/%6cive"}, method


@pytest.mark.parametrize("path", ["/", "/data"])
def test_a_token_in_the_query_does_not_count(guarded: Window, path: str) -> None:
    """Queries end up in logs and histories."""
    assert guarded.get(f"{path}?token={TOKEN}").status == 401
    assert TOKEN not in guarded.log


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(TOKEN)])
def test_with_the_token_everything_is_there(guarded: Window, header: str) -> None:
    """For programs and browsers, under any name of the host; the page's curl commands name it."""
    assert guarded.get("/data", Authorization=header).status == 200
    found = guarded.get("/docs", Authorization=header, Host="window.example.com")
    assert "Bearer $SERVICE_TOKEN" in found.text
    assert "http://window.example.com/data" in found.text
    assert TOKEN not in found.text


def test_live_is_open(guarded: Window) -> None:
    """It says nothing about anyone."""
    assert guarded.get("/live").status == 200


def test_without_a_token_only_loopback_names_are_answered(
    sqlite_filled: tuple[Path, DatabaseSettings],
) -> None:
    """Otherwise a site could read the window through a visitor's browser, by DNS."""
    with serving(*sqlite_filled) as window:
        assert window.get("/data", Host="evil.example.com").status == 421
        assert window.get("/live", Host="evil.example.com").status == 421
        assert window.get("/data", Host="localhost:1").status == 200


def test_masked_by_the_setting_no_request_can_unmask(
    sqlite_filled: tuple[Path, DatabaseSettings],
) -> None:
    """Everything is masked."""
    with serving(*sqlite_filled, SERVICE_MASKED="true") as window:
        for path in ("/data?masked=0", "/data/export", "/page/runs/delivery-1"):
            assert "Lovelace" not in window.get(path).text


def refused(folder: Path, database: DatabaseSettings, *arguments: str, **variables: str) -> str:
    """The only line that a window prints that cannot start."""
    (folder / "sources.toml").write_text(SOURCES, encoding="utf-8")
    ended = run_cli(folder, environment_of(database) | variables, "serve", *arguments)
    assert ended.exit_code == ExitCode.CONFIGURATION
    (line,) = ended.stderr.splitlines()
    return line


def test_another_address_needs_a_token(sqlite_filled: tuple[Path, DatabaseSettings]) -> None:
    """Exit 78, by option or setting."""
    assert "SERVICE_TOKEN is not set" in refused(*sqlite_filled, "--host", "0.0.0.0")
    for host in ("::", "192.0.2.1", "window.example.com", "127.0.0.1.example.com"):
        assert "SERVICE_TOKEN is not set" in refused(*sqlite_filled, SERVICE_HOST=host)


def test_an_address_in_use_is_one_line(sqlite_filled: tuple[Path, DatabaseSettings]) -> None:
    """It names the options."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(*sqlite_filled, "--port", str(port))
    assert f"Cannot listen on 127.0.0.1:{port} (Address already in use)" in line
    assert "--port" in line


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.SIGINT), (signal.SIGTERM, ExitCode.SIGTERM)]
)
def test_a_signal_ends_the_window(
    sqlite_filled: tuple[Path, DatabaseSettings], number: signal.Signals, code: ExitCode
) -> None:
    """With the signal's exit code and without a traceback; it needs neither key nor sources."""
    folder, database = sqlite_filled
    with serving(folder, database) as window:
        window.process.send_signal(number)
        ended = finish(folder, window.process)
        assert (ended.exit_code, ended.stderr) == (code, "")
