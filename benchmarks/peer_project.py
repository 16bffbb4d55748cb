"""The project of drt that sends what the program sends: SQL, sync files and profile. Pure.

drt runs *syncs*: each sends the rows of one query to one address, by one call after the other.
Several syncs may run at once, on threads of one process (`--threads`) or in several processes.
How to make that fast, from the source of drt 1.2.1:

    model, query     A sync for the profiles and one for the events: a sync has one address. To
                     have several calls in flight, each is divided into shards by `id % n`.
    ref(...)         The SQL is in syncs/models/*.sql: YAML is parsed in Python, slowly.
    JSON by SQL      JSON_OBJECT in the query makes a row the finished item of a call, so that
                     drt only joins texts. Otherwise Jinja renders each value of each row.
    batch_size       drt opens a new HTTP client, with its TLS settings, for each batch of rows.
                     Larger than a shard, it opens one per sync.
    max_records_per_request
                     1,000 items, as the program: the calls of both are the same.
    rate_limit       10 calls/s by default, 0 for none. One limiter is shared by all syncs of a
                     process that have the same host, and the lowest rate counts: profiles and
                     events with limits of their own need processes of their own.
    retry            Three tries, also after a 429. Where events are sent beside the profiles, the
                     400 of an event whose user is not there yet is retried as well.
    on_error         As it is: the sync stops at an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.query import QUERY
from integration.iterable.bulk import MAX_ITEMS
from sandbox.options import DEFAULT_API_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE_BATCH = 1_000_000
# Those that drt retries by default, and the 400 of an event of an unknown user.
RETRIED = [400, 429, 500, 502, 503, 504]
# Iterable's events need their users: a sync of events follows its sync of profiles.
_KINDS = ("users", "events")
_ADDRESSES = {
    ("users", True): "/api/users/bulkUpdate",
    ("events", True): "/api/events/trackBulk",
    ("users", False): "/api/users/update",
    ("events", False): "/api/events/track",
}
# Letters, digits and hyphens, and the same each time; drt's users would write it like this.
_EVENT_ID = "SHA1(CONCAT_WS('|', id, email, page, event_time))"
_VIEWED = "CAST(CONVERT_TZ(event_time, @@session.time_zone, '+00:00') AS CHAR(19))"
_JSON_COLUMNS = {
    "users": "JSON_OBJECT('email', email, 'dataFields', JSON_OBJECT("
    "'first_name', first_name, 'last_name', last_name, 'plan_type', plan_type,"
    " 'recent_page_view', true, 'candidate', candidate)) AS item",
    "events": "JSON_OBJECT('email', email, 'eventName', 'page_view',"
    f" 'id', {_EVENT_ID}, 'createdAt', UNIX_TIMESTAMP(event_time),"
    " 'dataFields', JSON_OBJECT('page', page, 'device', device, 'browser', browser,"
    f" 'location', location, 'timestamp', {_VIEWED}, 'candidate', candidate)) AS item",
}
_PLAIN_COLUMNS = {
    "users": "email, first_name, last_name, plan_type, candidate",
    "events": f"email, {_EVENT_ID} AS event_id, UNIX_TIMESTAMP(event_time) AS created_at,"
    f" page, device, browser, location, {_VIEWED} AS viewed, candidate",
}
_JINJA_ITEMS = {
    "users": '{"email": {{ row.email | tojson_safe }}, "dataFields": {'
    '"first_name": {{ row.first_name | tojson_safe }},'
    ' "last_name": {{ row.last_name | tojson_safe }},'
    ' "plan_type": {{ row.plan_type | tojson_safe }}, "recent_page_view": true,'
    ' "candidate": {{ row.candidate | tojson_safe }}}}',
    "events": '{"email": {{ row.email | tojson_safe }}, "eventName": "page_view",'
    ' "id": {{ row.event_id | tojson_safe }}, "createdAt": {{ row.created_at }},'
    ' "dataFields": {"page": {{ row.page | tojson_safe }},'
    ' "device": {{ row.device | tojson_safe }}, "browser": {{ row.browser | tojson_safe }},'
    ' "location": {{ row.location | tojson_safe }},'
    ' "timestamp": {{ row.viewed | tojson_safe }},'
    ' "candidate": {{ row.candidate | tojson_safe }}}}',
}


@dataclass(frozen=True)
class Setup:
    """How drt is set up and started.

    `script` is the shell command; it may select the syncs by their names, `users_00` and
    `events_00` and so on. `rates` are the calls per second of a sync of profiles and of events,
    0 for no limit. Without `json_by_sql`, Jinja renders the values, as in drt's manual.
    `ordered` sends the rows in the order of their ids, which costs the database a sort.
    `retry_unknown_users` retries a single call for an event whose profile is not there yet.
    """

    script: str
    bulk: bool = True
    items_per_call: int = MAX_ITEMS
    shards: int = 1
    json_by_sql: bool = True
    batch_size: int | None = ONE_BATCH
    rates: tuple[float, float] = (0, 0)
    ordered: bool = False
    retry_unknown_users: bool = False


def project_files(setup: Setup, url: str, database: Mapping[str, str]) -> dict[str, str]:
    """The files of the project by path; drt expects the profile in its user's home folder."""
    files = {
        "drt_project.yml": json.dumps({"name": "peer", "profile": "customers"}),
        ".drt/profiles.yml": json.dumps({"customers": _profile(database)}),
    }
    for place, kind in enumerate(_KINDS):
        for shard in range(setup.shards):
            name = f"{kind}_{shard:02}"
            files[f"syncs/models/{name}.sql"] = _model(setup, kind, shard)
            # YAML contains JSON. The files run in the order of their names.
            file = f"syncs/{place}_{name}.yml"
            files[file] = json.dumps(_sync(setup, kind, name, url), indent=2) + "\n"
    return files


def project_variables(folder: str, database: Mapping[str, str]) -> dict[str, str]:
    """The environment of drt, but for PATH."""
    return {
        "HOME": folder,
        "ITERABLE_API_KEY": DEFAULT_API_KEY,
        "MYSQL_PASSWORD": database["DB_PASSWORD"],
        "DO_NOT_TRACK": "1",
    }


def _profile(database: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "mysql",
        "host": database["DB_HOST"],
        "port": int(database["DB_PORT"]),
        "dbname": database["DB_NAME"],
        "user": database["DB_USER"],
        "password_env": "MYSQL_PASSWORD",
    }


def _model(setup: Setup, kind: str, shard: int) -> str:
    """Query 2, its rows as items or as plain columns."""
    columns = (_JSON_COLUMNS if setup.json_by_sql else _PLAIN_COLUMNS)[kind]
    only = f"\nWHERE id % {setup.shards} = {shard}" if setup.shards > 1 else ""
    order = "\nORDER BY id" if setup.ordered else ""
    return f"SELECT {columns}\nFROM (\n{QUERY}\n) AS query_2{only}{order}\n"


def _sync(setup: Setup, kind: str, name: str, url: str) -> dict[str, Any]:
    destination = {
        "type": "rest_api",
        "url": url + _ADDRESSES[kind, setup.bulk],
        "method": "POST",
        "headers": {"Content-Type": "application/json"},
        "auth": {"type": "api_key", "header": "Api-Key", "value_env": "ITERABLE_API_KEY"},
        "rate_limit": {"requests_per_second": setup.rates[_KINDS.index(kind)]},
        **(_bulk_body(setup, kind) if setup.bulk else {"body_template": _item(setup, kind)}),
    }
    options = {"mode": "full"} | ({"batch_size": setup.batch_size} if setup.batch_size else {})
    retry = {"retry": {"retryable_status_codes": RETRIED}} if setup.retry_unknown_users else {}
    model = f"ref('{name}')"
    return {"name": name, "model": model, "destination": destination | retry, "sync": options}


def _bulk_body(setup: Setup, kind: str) -> dict[str, Any]:
    if setup.json_by_sql:
        items = '{{ rows | join(",", attribute="item") }}'
    else:
        comma = "{% if not loop.last %},{% endif %}"
        items = f"{{% for row in rows %}}{_item(setup, kind)}{comma}{{% endfor %}}"
    return {
        "body_mode": "batch",
        "batch_template": f'{{"{kind}":[{items}]}}',
        "max_records_per_request": setup.items_per_call,
    }


def _item(setup: Setup, kind: str) -> str:
    return "{{ row.item }}" if setup.json_by_sql else _JINJA_ITEMS[kind]
