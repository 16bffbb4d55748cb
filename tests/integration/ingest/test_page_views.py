"""Page views of a page, in MySQL or MariaDB and in SQLite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from integration.database.writing import open_writer
from integration.ingest.customer_rules import unkeyed
from integration.ingest.view_rules import time_text
from tests.support.ingest import Ingest, Source, codes, counts, customer, links

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db_connection import DatabaseSettings
    from integration.database.writing import WriteSession

WEB = Source("web", "page_views")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def view(
    email: str = "a@x.com", key: str | None = None, seconds: int = 0, **values: object
) -> tuple[str | None, dict[str, object]]:
    """A record of a page view."""
    moment = NOON + timedelta(seconds=seconds)
    return key, {"email": email, "page": "pricing", "event_time": moment, **values}


@pytest.fixture
def web(session: WriteSession) -> Ingest:
    """A run of a source of views, with one customer."""
    Ingest(session, Source(owns_ids=True)).write(customer("7", "a@x.com"))
    return Ingest(session, WEB, "csv")


def stored(session: WriteSession) -> list[tuple[object, ...]]:
    """The views without their ids."""
    rows = session.query(
        "SELECT user_id, page, event_time, device, browser, location FROM page_views"
        " ORDER BY event_time, id"
    )
    return [(*row[:2], str(row[2]), *row[3:]) for row in rows]


def test_a_view_is_stored_for_its_customer(session: WriteSession, web: Ingest) -> None:
    """In UTC, without fractions of a second."""
    zone = timezone(timedelta(hours=2))
    moment = datetime(2026, 3, 1, 14, 0, 0, 999_999, tzinfo=zone)
    outcome = web.write(view("a@x.com", event_time=moment, device="mobile", browser="Ünï"))

    assert counts(outcome) == (1, 0, 0, 0)
    assert stored(session) == [(7, "pricing", "2026-03-01 12:00:00", "mobile", "Ünï", None)]


def test_the_views_of_a_customer_are_stored_in_the_order_of_the_page(
    session: WriteSession, web: Ingest
) -> None:
    """Of two in the same second, the later one has the higher id."""
    Ingest(session, Source(owns_ids=True)).write(customer("3", "c@x.com"))
    pages = ("settings", "features", "pricing", "home", "blog")
    views = [view(email, page=page) for page in pages for email in ("a@x.com", "c@x.com")]

    assert counts(web.write(*views)) == (10, 0, 0, 0)

    found = session.query("SELECT page FROM page_views WHERE user_id = 7 ORDER BY id")
    assert tuple(page for (page,) in found) == pages


def test_a_view_without_key_is_its_customer_page_and_time(
    session: WriteSession, web: Ingest
) -> None:
    """Again: unchanged. With other details: an update. At another time: a new one."""
    web.write(view(device="mobile"))
    assert counts(web.write(view(device="mobile"))) == (0, 0, 1, 0)
    assert counts(web.write(view(device="tablet"))) == (0, 1, 0, 0)
    assert counts(web.write(view(seconds=1), view(page="home"))) == (2, 0, 0, 0)
    assert [row[3] for row in stored(session) if row[1] == "pricing"] == ["tablet", None]
    numbers = [number for (number,) in session.query("SELECT id FROM page_views")]
    expected = {("web", unkeyed(number)): number for number in numbers}
    assert links(session, "page_views") == expected


@pytest.mark.parametrize("keys", [(None, None), ("a", "b")])
def test_views_are_connected_although_their_ids_have_gaps(
    session: WriteSession,
    web: Ingest,
    target_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
    keys: tuple[str | None, str | None],
) -> None:
    """As in a cluster, with a view of another writer in the gap."""
    if session.engine == "sqlite":
        pytest.skip("nothing else can write at the same time")
    other = open_writer(target_settings)
    session.execute("SET SESSION auto_increment_increment = 3")
    insert = session.insert

    def insert_both(sql: str, parameters: Sequence[object] = ()) -> int:
        first = insert(sql, parameters)
        other.execute(
            "INSERT INTO page_views (id, user_id, page, event_time)"
            " VALUES (%s, 7, 'blog', '2026-01-01')",
            (first + 1,),
        )
        return first

    monkeypatch.setattr(session, "insert", insert_both)
    try:
        assert counts(web.write(view(key=keys[0]), view(key=keys[1], seconds=1))) == (2, 0, 0, 0)
    finally:
        other.close()

    ids = [number for (number,) in session.query("SELECT id FROM page_views ORDER BY id")]
    ours = [ids[0], ids[2]]
    expected = {
        ("web", key or unkeyed(number)): number for key, number in zip(keys, ours, strict=True)
    }
    assert len(ids) == 3
    assert links(session, "page_views") == expected


def test_a_column_that_the_source_lacks_stays(session: WriteSession, web: Ingest) -> None:
    """A null of the source is written."""
    web.write(view(device="mobile", browser="Edge"))

    assert counts(web.write(view(browser=None))) == (0, 1, 0, 0)
    assert counts(web.write(view())) == (0, 0, 1, 0)
    assert stored(session)[0][3:5] == ("mobile", None)


def test_a_view_that_is_there_already_is_not_stored_twice(session: WriteSession) -> None:
    """Whoever has written it."""
    Ingest(session, Source(owns_ids=True)).write(customer("7", "a@x.com"))
    Ingest(session, WEB, "csv").write(view())
    other = Ingest(session, Source("app", "page_views"), "jsonl")

    assert counts(other.write(view())) == (0, 0, 1, 0)
    assert counts(other.write(view())) == (0, 0, 1, 0)
    assert len(stored(session)) == 1
    assert {source for source, _ in links(session, "page_views")} == {"web", "app"}


def test_a_view_with_a_key_is_its_key(session: WriteSession, web: Ingest) -> None:
    """Two views at one time are two; a key may change everything of its view."""
    first = web.write(
        view(key="1", device="mobile"),
        view(key="2", device="tablet"),
        view(key="3", device="tablet"),
    )
    again = web.write(
        view(key="1", device="mobile"),
        view(key="2", device="tablet"),
        view(key="3", device="tablet"),
    )
    moved = web.write(view(key="2", seconds=5, page="blog"))

    assert (counts(first), counts(again)) == ((3, 0, 0, 0), (0, 0, 3, 0))
    assert counts(moved) == (0, 1, 0, 0)
    assert stored(session)[-1] == (7, "blog", "2026-03-01 12:00:05", "tablet", None, None)


def test_the_last_record_of_a_view_wins(session: WriteSession, web: Ingest) -> None:
    """The earlier ones count as unchanged."""
    outcome = web.write(view(device="mobile"), view(device="tablet"), view(device="desktop"))

    assert counts(outcome) == (1, 0, 2, 0)
    assert [row[3] for row in stored(session)] == ["desktop"]


@pytest.mark.parametrize(
    ("source", "values"),
    [
        (Source("web", "page_views", customer="id"), {"user_id": 7}),
        (Source("web", "page_views", customer="email"), {"email": "A@X.com"}),
        (
            Source("web", "page_views", customer="key", customer_source="shop"),
            {"customer_key": "k"},
        ),
    ],
)
def test_the_customer_is_named_by_id_email_or_key(
    session: WriteSession, source: Source, values: dict[str, object]
) -> None:
    """An email in any case; a key of the source that is configured."""
    if session.engine == "sqlite" and "email" in values:
        values = {"email": "a@x.com"}
    Ingest(session, Source("crm", owns_ids=True)).write(customer("7", "a@x.com"))
    Ingest(session, Source("shop")).write(customer("k", "a@x.com"))
    Ingest(session, Source("other")).write(customer("k", "b@x.com"))

    outcome = Ingest(session, source, "csv").write(view(**values))  # type: ignore[arg-type]

    assert counts(outcome) == (1, 0, 0, 0)
    assert stored(session)[0][0] == 7


def test_a_view_of_an_unknown_customer_is_rejected(session: WriteSession, web: Ingest) -> None:
    """An email that differs in accents is another person's."""
    outcome = web.write(view("b@x.com"), view("á@x.com"), view("a@x.com"))

    assert codes(outcome) == [(0, "unknown_customer"), (1, "unknown_customer")]
    assert counts(outcome) == (1, 0, 0, 2)


def test_a_view_that_was_deleted_is_inserted_again(session: WriteSession, web: Ingest) -> None:
    """With or without a key."""
    web.write(view(key="1"), view(key="2", seconds=1))
    session.execute("DELETE FROM page_views")

    assert counts(web.write(view(key="1"))) == (1, 0, 0, 0)
    assert len(stored(session)) == 1


def test_a_value_that_the_column_cannot_hold_rejects_its_view_only(web: Ingest) -> None:
    """Whatever validation has let through."""
    outcome = web.write(view(), view(page="gold"), view(seconds=1))

    assert codes(outcome) == [(1, "not_allowed")]


def test_a_time_without_zone_is_utc() -> None:
    """Text stays as it is, without fractions."""
    assert time_text(datetime(2026, 3, 1, 12, 0, 0, 5)) == "2026-03-01 12:00:00"  # noqa: DTZ001
    assert time_text("2026-03-01 12:00:00.5") == "2026-03-01 12:00:00"
