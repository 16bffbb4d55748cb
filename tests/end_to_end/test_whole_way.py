"""The whole way: an API and three files fill an empty database, and the right users get calls.

What must come out is computed here from what the sources send, without the program's code.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.source import SourceOptions, SourceProcess
from sandbox.source.records import BAD_CUSTOMERS, PLANS, is_bad
from tests.support.cli_runs import CUSTOMERS, environment_of, run_cli
from tests.support.runs import environment_for, finish, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from db_connection import DatabaseSettings
    from sandbox.process import SandboxProcess
    from tests.support.mysql_server import MySQLServer

PEOPLE = 10_000
VIEWS = 50_000
BAD_SHARE = 0.03
NOW = datetime.now(UTC).replace(microsecond=0)
SOURCES = (
    CUSTOMERS.replace("value = 10 ", "value = 1000 ").replace("= 60", "= 10")
    + """
[sources.web]
entity = "page_views"
kind = "csv"
path = ["views_*.csv", "views_*.csv.gz"]
customer = "email"
[sources.web.fields]
event_time = "viewed_at"
"""
)
HEADER = ["email", "page", "device", "browser", "location", "viewed_at"]
# How a row is made bad, and the code of its rejection.
WAYS: tuple[tuple[str, Callable[[list[str]], object]], ...] = (
    ("missing", lambda row: row.__setitem__(0, "")),
    ("type", lambda row: row.__setitem__(0, "no address")),
    ("not_allowed", lambda row: row.__setitem__(1, "checkout")),
    ("not_allowed", lambda row: row.__setitem__(2, "toaster")),
    ("too_long", lambda row: row.__setitem__(3, "x" * 101)),
    ("type", lambda row: row.__setitem__(5, "yesterday")),
    ("out_of_range", lambda row: row.__setitem__(5, "2039-01-01")),
    ("unknown_customer", lambda row: row.__setitem__(0, "never@example.com")),
    ("malformed", lambda row: row.append("one cell too many")),
    ("malformed", lambda row: row.pop()),
)


@pytest.fixture(scope="module")
def source() -> Iterator[SourceProcess]:
    """Customers, some of them bad in every way that the mock source knows."""
    newest = (NOW - timedelta(minutes=5)).isoformat()
    with SourceProcess(SourceOptions(customers=PEOPLE, bad=BAD_SHARE, newest=newest)) as process:
        yield process


@pytest.fixture
def database(mysql_server: MySQLServer, seeded_database: DatabaseSettings) -> DatabaseSettings:
    """A database with empty tables."""
    name = seeded_database.name
    mysql_server.run("DELETE FROM page_views", "DELETE FROM customers", name=name)
    return seeded_database


def good_people() -> dict[str, int]:
    """The customers that can be stored: their ids by email, in lower case."""
    bad = [number for number in range(PEOPLE) if is_bad(number, BAD_SHARE)]
    numbers = sorted(set(range(PEOPLE)) - set(bad))
    people = {f"user{number + 1}@example.com": number + 1 for number in numbers}
    # The first customer is bad, so the first of those that send its email may have it.
    way = list(BAD_CUSTOMERS).index("email of another")
    heir = next(number for number in bad if number % len(BAD_CUSTOMERS) == way)
    return people | {"user1@example.com": heir + 1}


def view_rows() -> tuple[list[list[str]], dict[int, str]]:
    """The rows of all files, and the codes of those that are bad by themselves."""
    random = Random(7)
    rows = []
    for number in range(VIEWS):
        moment = NOW - timedelta(minutes=random.randint(10, 60 * 24 * 90), seconds=number % 60)
        page = random.choice(["pricing", "settings", "features", "home", "blog"])
        device = random.choice(["desktop", "mobile", "tablet", ""])
        browser = random.choice(["Chrome", "Fire, fox", 'Saf"ari', "Zoë"])
        email = f"user{random.randint(1, PEOPLE)}@example.com"
        rows.append([email, page, device, browser, "Paris", f"{moment:%Y-%m-%d %H:%M:%S}"])
    bad = {}
    for turn, number in enumerate(range(0, VIEWS, 33)):
        code, spoil = WAYS[turn % len(WAYS)]
        spoil(rows[number])
        bad[number] = code
    return rows, bad


def write_files(folder: Path, rows: list[list[str]]) -> None:
    """A plain file, one with BOM and CRLF, and a compressed one."""
    (folder / "views_1.csv").write_bytes(csv_of(rows[:20_000], "\n"))
    (folder / "views_2.csv").write_bytes(b"\xef\xbb\xbf" + csv_of(rows[20_000:35_000], "\r\n"))
    (folder / "views_3.csv.gz").write_bytes(gzip.compress(csv_of(rows[35_000:], "\n")))


def csv_of(rows: list[list[str]], line_end: str) -> bytes:
    """A file with a header."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows([HEADER, *rows])
    return text.getvalue().encode()


def latest_views(
    rows: list[list[str]], people: dict[str, int]
) -> dict[str, tuple[datetime, set[str]]]:
    """The users of Query 2, with the time of their latest view and the pages at that time."""
    earliest = datetime.combine(NOW.date() - timedelta(days=7), datetime.min.time(), UTC)
    latest: dict[str, tuple[datetime, set[str]]] = {}
    for email, page, *_, text in rows:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
        is_pro = PLANS[(people[email] - 1) % len(PLANS)] == "pro"
        if is_pro and page in {"pricing", "settings"} and moment >= earliest:
            known = latest.get(email)
            if known is None or moment > known[0]:
                latest[email] = (moment, {page})
            elif moment == known[0]:
                known[1].add(page)
    return latest


def test_sources_fill_the_tables_and_the_right_users_are_sent(
    tmp_path: Path,
    source: SourceProcess,
    mysql_server: MySQLServer,
    database: DatabaseSettings,
    sandbox: SandboxProcess,
) -> None:
    """Every record is stored or listed; then nothing new, and then 100 changed customers."""
    (tmp_path / "sources.toml").write_text(SOURCES.format(url=source.url))
    rows, codes = view_rows()
    write_files(tmp_path, rows)
    people = good_people()
    for number, row in enumerate(rows):
        if number not in codes and row[0] not in people:
            codes[number] = "unknown_customer"
    good = [row for number, row in enumerate(rows) if number not in codes]
    environment = environment_of(database)

    def query(sql: str) -> list[Any]:
        return mysql_server.run(sql, name=database.name)

    assert run_cli(tmp_path, environment, "run").exit_code == 1

    assert {number for (number,) in query("SELECT id FROM customers")} == set(people.values())
    assert query("SELECT COUNT(*) FROM page_views") == [(len(good),)]
    rejected = "SELECT code, COUNT(*) FROM etl_rejected WHERE entity = 'page_views' GROUP BY code"
    assert dict(query(rejected)) == Counter(codes.values())
    listed = run_cli(tmp_path, environment, "rejected").stdout.splitlines()
    assert sum(" record " in line and " run " in line for line in listed) == len(
        codes
    ) + PEOPLE - len(people)

    assert_sent(tmp_path, environment_for(tmp_path, sandbox, database), latest_views(good, people))
    runs = "SELECT inserted, updated FROM etl_runs WHERE source = '{}' ORDER BY run_id DESC LIMIT 1"
    connected = query("SELECT COUNT(*), MAX(run_id) FROM etl_records")
    assert run_cli(tmp_path, environment, "run").exit_code in {0, 1}
    assert query(runs.format("crm")) == query(runs.format("web")) == [(0, 0)]
    assert query("SELECT pages FROM etl_runs ORDER BY run_id DESC LIMIT 1") == [(0,)]
    assert query("SELECT COUNT(*), MAX(run_id) FROM etl_records") == connected

    source.touch("customers", 100)
    changed = sum(number + 1 in people.values() for number in range(100))
    run_cli(tmp_path, environment, "run")
    assert query(runs.format("crm")) == [(0, changed)]


def assert_sent(
    folder: Path, environment: dict[str, str], latest: dict[str, tuple[datetime, set[str]]]
) -> None:
    """`main.py` sends exactly these users, each with the latest view."""
    sent = finish(folder, start(folder, environment))
    assert sent.exit_code == 0
    assert set(sent.records) == set(latest)
    for line in sent.csv_rows:
        moment, pages = latest[line["email"]]
        assert line["event_time"] == f"{moment:%Y-%m-%d %H:%M:%S}"
        assert line["page"] in pages
