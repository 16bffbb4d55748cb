"""A person's story from a real database and a real journal."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import orjson
import pytest

from db_connection import DatabaseConnection, DatabaseSettings, load_query
from integration.core.clock import utc_now
from integration.core.people import SourceRecord
from integration.database.errors import DatabaseUnavailable
from integration.database.reading import ReadPool
from integration.database.writing import open_writer
from integration.ingest.models import Rejection
from integration.ingest.origins import find_source_records
from integration.journal.store import Journal
from integration.service.person import facts_of
from integration.service.story import listing_of, story_of
from sandbox.database import create_database
from tests.conftest import QUERIES_SQL, load_seed
from tests.support.ingest import Ingest, Source, customer
from tests.support.journals import completed_run
from tests.support.users import page_view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.database.reading import ReadSession
    from integration.service.story import PersonFacts


@pytest.fixture(params=["mysql", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseSettings]:
    """A database with the tables and rows of `database_setup.sql`."""
    if request.param == "sqlite":
        file = tmp_path / "target.db"
        create_database(file)
        yield DatabaseSettings("sqlite", (), 0, "", "", str(file))
        return
    server = request.getfixturevalue("mysql_server")
    name = server.new_database()
    load_seed(server, name)
    yield server.settings(name)
    server.drop_databases()


@pytest.fixture
def pool(database: DatabaseSettings) -> Iterator[ReadPool]:
    """Its connections."""
    with closing(ReadPool(database)) as opened:
        yield opened


def known_of(email: str, pool: ReadPool, journal: Path) -> PersonFacts:
    """Everything about a person."""
    return facts_of(email, utc_now(), pool.session(), find_source_records, journal)


def test_the_list_is_explained_as_query_2_makes_it(
    database: DatabaseSettings, pool: ReadPool, tmp_path: Path
) -> None:
    """For each of the customers of the demo, with its near misses."""
    with DatabaseConnection.from_settings(database) as connection:
        listed = {row["email"] for row in connection.execute_query(load_query(QUERIES_SQL, 2))}
        everyone = [row["email"] for row in connection.execute_query("SELECT email FROM customers")]

    known = {str(email): known_of(str(email), pool, tmp_path / "j.db") for email in everyone}

    assert len(listed) == 3
    assert {email for email, one in known.items() if listing_of(one).is_listed} == listed
    reasons = {listing_of(one).reason.split(",")[0].split(" at ")[0] for one in known.values()}
    assert {"the last view of pricing or settings", "no view of pricing or settings"} < reasons


def test_rows_views_and_runs_are_found_without_the_tables_of_the_ingest(
    pool: ReadPool, tmp_path: Path
) -> None:
    """By the email in any case."""
    with Journal(tmp_path / "j.db") as journal:
        completed_run(journal, [page_view(1, "mia.harris@email.com")])

    for email in ("mia.harris@email.com", "Mia.Harris@email.com"):
        found = known_of(email, pool, tmp_path / "j.db")
        assert found.customer
        assert (found.customer.first_name, found.customer.plan_type) == ("Mia", "pro")
        assert found.last_view
        assert found.last_view.time.tzinfo
        assert found.views > 0
        assert found.records == []
        assert [one.outcome for one in found.deliveries] == ["successful"]


def test_an_email_with_other_accents_is_another_person(
    database: DatabaseSettings, pool: ReadPool, tmp_path: Path
) -> None:
    """MySQL's collation takes one for the other; case does not matter, unless both exist."""
    with closing(open_writer(database)) as session:
        session.execute(
            "INSERT INTO customers (email, plan_type) VALUES ('jos\u00e9@example.com', 'pro')"
        )

    def found(email: str) -> str | None:
        customer = known_of(email, pool, tmp_path / "j.db").customer
        return customer.email if customer else None

    assert found("jose@example.com") is None
    assert found("jos\u00e9@example.com ") is None
    assert found("Jos\u00e9@Example.com") == "jos\u00e9@example.com"


def test_a_damaged_journal_and_a_database_that_is_down_are_named(tmp_path: Path) -> None:
    """One does not hide the other."""

    @contextmanager
    def down() -> Iterator[ReadSession]:
        raise DatabaseUnavailable("The database is down")
        yield

    journal = tmp_path / "j.db"
    journal.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)

    found = facts_of("a@x.com", utc_now(), down(), find_source_records, journal)

    assert found.database_error == "The database is down"
    assert "is damaged" in (found.journal_error or "")


def records_of(pool: ReadPool, email: str, customer_id: object = None) -> list[SourceRecord]:
    """What the sources have of a person, without the times."""
    with pool.session() as session:
        found = find_source_records(session, customer_id, email)
    assert all(one.started_at for one in found)
    return [one._replace(started_at=None) for one in found]


def test_a_record_of_an_api_is_found_by_its_page_and_position(
    database: DatabaseSettings, pool: ReadPool
) -> None:
    """Stored or rejected."""
    url = "https://crm.example.com/api"
    answer = {"data": [{"email": "Eve@example.com"}, {"email": "bad@example.com"}], "page": [1]}
    with closing(open_writer(database)) as session:
        ingest = Ingest(session)
        bad = Rejection(1, "k2", "not_allowed", "plan_type", "")
        ingest.write(
            customer("k1", "eve@example.com"), rejections=[bad], content=orjson.dumps(answer)
        )
        ((eve,),) = session.query("SELECT id FROM customers WHERE email = 'eve@example.com'")

    assert records_of(pool, "eve@example.com", eve) == [
        SourceRecord("crm", "k1", 1, "http", None, f"{url}, record 1")
    ]
    assert records_of(pool, "bad@example.com") == [
        SourceRecord("crm", "k2", 1, "http", None, f"{url}, record 2", "not_allowed", "plan_type")
    ]
    assert records_of(pool, "unknown@example.com") == []


def test_the_story_names_the_newest_page_with_the_record(
    database: DatabaseSettings, pool: ReadPool, tmp_path: Path
) -> None:
    """Run 1 connected it, run 2 did not have it, run 3 updated it; with file and line."""
    header = b"key,email\n"
    pages = [
        (header + b"k1,eve@example.com\n", "monday.csv:10-28", ["k1"]),
        (header + b"k2,ann@example.com\n", "tuesday.csv:10-28", ["k2"]),
        (header + b"k3,bob@example.com\nk1,eve@example.com\n", "today.csv:10-47", ["k3", "k1"]),
        (header + b"k4,cat@example.com\n", "late.csv:10-28", ["k4"]),
    ]
    names = {"k1": "eve", "k2": "ann", "k3": "bob", "k4": "cat"}
    with closing(open_writer(database)) as session:
        for number, (content, origin, keys) in enumerate(pages):
            ingest = Ingest(session, kind="csv")
            records = [
                customer(key, f"{names[key]}@example.com", first_name=f"Version {number}")
                for key in keys
            ]
            ingest.write(*records, content=content, origin=origin)
        ((eve,),) = session.query("SELECT id FROM customers WHERE email = 'eve@example.com'")
        assert session.query("SELECT run_id FROM etl_records WHERE source_key = 'k1'") == [(1,)]

    newest = SourceRecord("crm", "k1", 3, "csv", None, "today.csv, line 3")
    assert records_of(pool, "eve@example.com", eve) == [newest]
    (step, *_) = story_of(known_of("eve@example.com", pool, tmp_path / "j.db"))
    assert "run 3" in step.lines[0]
    assert "today.csv, line 3" in step.lines[0]


def test_a_record_whose_raw_page_was_deleted_is_still_known(
    database: DatabaseSettings, pool: ReadPool
) -> None:
    """Without its place; a damaged page tells nothing either."""
    with closing(open_writer(database)) as session:
        ingest = Ingest(session, Source(name="crm"), kind="csv")
        ingest.write(customer("k1", "eve@example.com"), content=b'[{"email":"eve@example.com"}]')
        ((eve,),) = session.query("SELECT id FROM customers WHERE email = 'eve@example.com'")
        session.execute("UPDATE etl_raw_data SET content = %s", (b"damaged",))
        assert records_of(pool, "eve@example.com", eve)[0].place is None
        session.execute("DELETE FROM etl_raw_data")

    assert records_of(pool, "eve@example.com", eve) == [
        SourceRecord("crm", "k1", 1, "csv", None, None)
    ]
