"""drt is made to send what the program sends: its SQL on a real server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.peer_project import Setup, project_files
from benchmarks.query import QUERY
from benchmarks.sources import fill_mysql
from db_connection import DatabaseConnection
from integration.core.models import PageView
from integration.iterable.payloads import payloads
from sandbox.validation import is_valid_event_id

if TYPE_CHECKING:
    from db_connection import DatabaseSettings
    from tests.support.mysql_server import MySQLServer

DATABASE = {"DB_HOST": "h", "DB_PORT": "1", "DB_USER": "u", "DB_PASSWORD": "", "DB_NAME": "d"}
USERS = 20


def items(server: MySQLServer, name: str, kind: str, shards: int) -> list[dict[str, Any]]:
    """The items that drt's queries of this kind make, in a session that is not in UTC."""
    files = project_files(Setup("", shards=shards, ordered=True), "http://localhost", DATABASE)
    found = []
    with server.connected(name) as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '-07:00'")
        for shard in range(shards):
            cursor.execute(files[f"syncs/models/{kind}_{shard:02}.sql"])
            found += [json.loads(row[0]) for row in cursor.fetchall()]
    return found


def test_the_items_of_drt_are_the_payloads_of_the_program(
    mysql_server: MySQLServer, empty_database: DatabaseSettings
) -> None:
    """Only the events' ids differ: drt has no UUIDv5. The shards together are all users."""
    name = empty_database.name
    fill_mysql(mysql_server, name, USERS)
    with DatabaseConnection.from_settings(empty_database) as connection:
        views = [PageView(*row) for rows in connection.stream_page_views(QUERY) for row in rows]
    assert len(views) == USERS
    profiles, bodies = zip(*map(payloads, views), strict=True)

    assert items(mysql_server, name, "users", 1) == list(map(json.loads, profiles))
    events = items(mysql_server, name, "events", 1)
    ids = {event.pop("id") for event in events}
    assert len(ids) == USERS
    assert all(is_valid_event_id(one) for one in ids)
    expected = list(map(json.loads, bodies))
    for event in expected:
        del event["id"]
    assert events == expected

    emails = [item["email"] for item in items(mysql_server, name, "users", 3)]
    assert sorted(emails) == sorted(str(view.email) for view in views)
