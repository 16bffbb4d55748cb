"""What the sandbox reports about itself, and how it is changed while it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests

from sandbox.control import state_as_json
from sandbox.options import SandboxOptions
from sandbox.project import Project
from sandbox.record import MAX_CALLS_KEPT, Call, Record
from tests.support import sandbox_api
from tests.support.sandbox_api import EMAIL

if TYPE_CHECKING:
    from tests.support.sandbox_api import Api

running_sandbox_fixture = sandbox_api.running_sandbox_fixture
api_fixture = sandbox_api.api_fixture


def test_the_state_is_complete_and_has_counts(api: Api) -> None:
    """More users than one chunk of the stream holds, each with its count."""
    users = [{"email": f"user{n}@example.com", "dataFields": {"n": n}} for n in range(2_500)]
    api.post("users/bulkUpdate", {"users": users})
    api.update("user7@example.com", n=8)
    stored = api.users()
    assert len(stored) == 2_500
    assert stored["user7@example.com"] == {
        "email": "user7@example.com",
        "dataFields": {"n": 8},
        "updates": 2,
    }


def test_the_state_is_a_snapshot() -> None:
    """A user created while it is read does not affect it."""
    project = Project(SandboxOptions())
    project.users.overwrite("a@example.com", {})
    pieces = state_as_json(project)
    first = next(pieces)
    project.users.overwrite("b@example.com", {})
    rest = b"".join(pieces)
    assert b"a@example.com" in first + rest
    assert b"b@example.com" not in rest


def test_statistics_count_calls_answers_and_items(api: Api) -> None:
    """By endpoint; single calls are one item."""
    before = time.time()
    api.update()
    api.update("000")
    api.update_bulk("a@example.com", "b@example.com")
    api.get(f"users/{EMAIL}")
    stats = api.sandbox.stats()
    assert stats["calls"] == {"users/update": 2, "users/bulkUpdate": 1, "users/{email}": 1}
    assert stats["answers"]["users/update"] == {"200": 1, "400": 1}
    assert stats["items"] == {"users/update": 2, "users/bulkUpdate": 2, "users/{email}": 0}
    assert (stats["users"], stats["events"]) == (3, 0)
    assert stats["connections_opened"] >= 1
    assert before <= stats["first_call_unix_time"] <= stats["last_call_unix_time"] <= time.time()
    assert api.sandbox.cpu_seconds() > 0
    assert stats["peak_memory_bytes"] > 1_000_000


def test_a_kept_alive_connection_is_counted_once(api: Api) -> None:
    """Calls of one session share a connection."""
    api.update()
    before = api.sandbox.stats()["connections_opened"]
    for _ in range(5):
        api.update()
    # The one connection is that of the statistics call itself.
    assert api.sandbox.stats()["connections_opened"] == before + 1


def test_the_last_write_calls_are_kept_in_order(api: Api) -> None:
    """With email or item count, answer, fault and whether the headers were right."""
    api.sandbox.faults([{"kind": "hang", "endpoint": "events/track", "applied": True}])
    api.update()
    api.get(f"users/{EMAIL}")
    api.post("users/update", data=b"{}", headers={"Content-Type": "text/plain"})
    with pytest.raises(requests.ReadTimeout):
        api.session.post(
            f"{api.sandbox.url}/api/events/track",
            json={"email": EMAIL, "eventName": "x"},
            timeout=0.2,
        )
    api.update_bulk("a@example.com", "b@example.com")
    calls = api.sandbox.calls()
    seen = [
        (c["endpoint"], c["email"], c["items"], c["status"], c["fault"], c["headers_ok"])
        for c in calls
    ]
    assert seen == [
        ("users/update", EMAIL, 1, 200, None, True),
        ("users/update", None, 1, 400, None, False),
        ("events/track", EMAIL, 1, None, "hang", True),
        ("users/bulkUpdate", None, 2, 200, None, True),
    ]
    times = [call["monotonic_time"] for call in calls]
    assert times == sorted(times)
    assert api.sandbox.calls(limit=1) == calls[-1:]


def test_a_key_in_the_url_is_recorded(api: Api) -> None:
    """A key belongs in its header only."""
    api.post("users/update?api_key=sandbox-key", {"email": EMAIL})
    assert api.sandbox.calls()[0]["headers_ok"] is False


def test_only_the_last_calls_are_kept() -> None:
    """The ring buffer holds 10,000."""
    record = Record()
    call = Call("x", None, 1, 200, None, headers_ok=True, monotonic_time=0.0, unix_time=0.0)
    for number in range(MAX_CALLS_KEPT + 5):
        record.note(call._replace(monotonic_time=float(number)), is_write=True)
    kept = record.last_calls(MAX_CALLS_KEPT * 2)
    assert (len(kept), kept[0].monotonic_time) == (MAX_CALLS_KEPT, 5.0)


def test_a_reset_forgets_everything(api: Api) -> None:
    """Users, events, field types, counts and faults; the options are kept."""
    api.sandbox.configure(latency=0.01)
    api.update(field=1)
    api.track(id="one")
    api.sandbox.faults([{"kind": "hang"}])
    api.sandbox.rates({"hang": 1.0})
    api.sandbox.reset()
    assert api.sandbox.state() == {"users": {}, "events": {}}
    assert (api.sandbox.stats()["calls"], api.sandbox.calls()) == ({}, [])
    assert api.update(field="text").status_code == 200
    assert api.update(field="text").elapsed.total_seconds() >= 0.01


def test_a_profile_can_be_changed_without_a_call(api: Api) -> None:
    """Its fields change and its count of updates does not."""
    api.update(plan="pro", name="Ada")
    api.sandbox.overwrite(EMAIL.upper(), {"plan": "free"})
    api.sandbox.overwrite("b/c@example.com", {"plan": "basic"})
    assert api.users()[EMAIL]["dataFields"] == {"plan": "free", "name": "Ada"}
    assert [user["updates"] for user in api.users().values()] == [1, 0]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("configure", {"latency": "soon"}),
        ("configure", {"colour": "red"}),
        ("configure", []),
        ("users/a@example.com", [1]),
        ("users/a@example.com", None),
    ],
)
def test_a_wrong_command_is_refused(api: Api, path: str, body: object) -> None:
    """It is 400 and changes nothing."""
    answer = requests.post(f"{api.sandbox.url}/_sandbox/{path}", json=body, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (400, "BadParams")
    assert api.users() == {}


@pytest.mark.parametrize("path", ["_sandbox/nothing", "_sandbox/reset", "nothing"])
def test_another_path_is_not_found(api: Api, path: str) -> None:
    """A command is a POST, so a GET of it is 404 too."""
    assert requests.get(f"{api.sandbox.url}/{path}", timeout=30).status_code == 404


def test_the_page_shows_what_came_in_and_escapes_it(api: Api) -> None:
    """It lists calls and users; a value cannot become markup."""
    api.update(name="<script>alert(1)</script>")
    api.update_bulk("bob@example.com")
    answer = requests.get(api.sandbox.url, timeout=30)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "&lt;script&gt;alert(1)" in answer.text
    assert "<script>" not in answer.text
    for text in ("2 users, 0 events", "users/bulkUpdate", "1 items", EMAIL, "forgotten", "hang"):
        assert text in answer.text


def test_a_client_may_close_after_one_call(api: Api) -> None:
    """Connection: close is honoured."""
    answer = api.post("users/update", {"email": EMAIL}, headers={"Connection": "close"})
    assert answer.headers["Connection"] == "close"


def test_bytes_that_are_not_http_are_refused(api: Api) -> None:
    """The connection ends with a 400."""
    with api.connect() as connection:
        connection.sendall(b"\x16\x03\x01\r\n\r\n")
        assert connection.recv(1024).startswith(b"HTTP/1.1 400 ")
