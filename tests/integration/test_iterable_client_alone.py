"""IterableClient as a notebook uses it: no run, no settings, real HTTP."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from iterable_client import IterableClient, Pause
from sandbox import SandboxOptions, SandboxProcess
from tests.support.sandbox_api import EMAIL, Api, api_fixture, running_sandbox_fixture

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["api_fixture", "running_sandbox_fixture"]
SECRET = "a-jwt-secret-of-thirty-two-bytes!"
FIELDS = {"plan_type": "pro", "recent_page_view": True, "candidate": None}
CREATED = datetime(2026, 1, 13, 14, 30, 45, tzinfo=UTC)


@pytest.fixture(name="client")
def client_fixture(api: Api) -> Iterator[IterableClient]:
    """A client created as documented."""
    with IterableClient(api.sandbox.options.api_key, base_url=api.sandbox.url) as client:
        yield client


def test_a_profile_is_stored(api: Api, client: IterableClient) -> None:
    """The result is a success, and Iterable has the fields."""
    result = client.update_user(EMAIL, FIELDS)

    assert (result.success, result.status_code, result.attempts) == (True, 200, 1)
    assert result.code == "Success"
    assert api.users()[EMAIL]["dataFields"].items() >= {"plan_type": "pro"}.items()


def test_an_event_is_recorded(api: Api, client: IterableClient) -> None:
    """With its own id and time."""
    client.update_user(EMAIL, FIELDS)
    result = client.track_event(
        EMAIL, "page_view", {"page": "pricing"}, event_id="view-1", created_at=CREATED
    )

    assert result.success
    assert api.events()["view-1"] == {
        "id": "view-1",
        "email": EMAIL,
        "eventName": "page_view",
        "createdAt": int(CREATED.timestamp()),
        "dataFields": {"page": "pricing"},
        "updates": 1,
    }


def test_a_time_may_be_unix_seconds(api: Api, client: IterableClient) -> None:
    """The format that Iterable uses."""
    client.update_user(EMAIL, FIELDS)
    client.track_event(EMAIL, "page_view", {}, created_at=1_768_314_645)

    (event,) = api.events().values()
    assert event["createdAt"] == 1_768_314_645


def test_an_event_without_an_id_is_created_once_however_often_it_is_retried(
    api: Api, client: IterableClient
) -> None:
    """The answer is lost, the retry has the same id; the next event has another."""
    client.update_user(EMAIL, FIELDS)
    api.sandbox.faults([{"endpoint": "events/track", "kind": "reset_after"}])

    first = client.track_event(EMAIL, "page_view", {})
    client.track_event(EMAIL, "page_view", {})

    assert (first.success, first.attempts) == (True, 2)
    assert sorted(event["updates"] for event in api.events().values()) == [1, 2]


def test_calls_are_retried_as_in_a_run(api: Api, client: IterableClient) -> None:
    """A 503 is retried after a second; a rejection is not."""
    fault = {"endpoint": "*", "kind": "status"}
    api.sandbox.faults([{**fault, "status": 503}])
    began = time.monotonic()

    repeated = client.update_user(EMAIL, FIELDS)
    api.sandbox.faults([{**fault, "status": 400}])
    refused = client.update_user(EMAIL, FIELDS)

    assert (repeated.success, repeated.attempts) == (True, 2)
    assert time.monotonic() - began >= 1
    assert (refused.error, refused.attempts) == ("client_error", 1)


def test_attempts_and_waits_are_the_callers_choice(api: Api) -> None:
    """At most `max_attempts`; a wait that requests a stop ends the call with its last failure."""
    fault = {"endpoint": "*", "kind": "status", "status": 503, "times": 9}
    api.sandbox.faults([fault])
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    options: dict[str, Any] = {"max_attempts": 2, "pause": Pause(wait, lambda: False)}
    with IterableClient(api.sandbox.options.api_key, api.sandbox.url, **options) as client:
        result = client.update_user(EMAIL, FIELDS)

    assert (result.error, result.attempts, len(waits)) == ("server_error", 2, 1)


def test_an_unanswered_call_ends_at_its_timeout(api: Api) -> None:
    """`timeout_seconds` limits each attempt."""
    api.sandbox.faults([{"endpoint": "*", "kind": "hang"}])
    options: dict[str, Any] = {"timeout_seconds": 0.5, "max_attempts": 1}
    with IterableClient(api.sandbox.options.api_key, api.sandbox.url, **options) as client:
        assert client.update_user(EMAIL, FIELDS).error == "timeout"


def test_calls_are_paced_at_a_share_of_the_published_limits(api: Api) -> None:
    """2,000 events a second, of which this client uses a hundredth: 20."""
    with IterableClient(
        api.sandbox.options.api_key, api.sandbox.url, rate_limit_share=0.01
    ) as client:
        began = time.monotonic()
        for _ in range(5):
            client.track_event(EMAIL, "page_view", {})

    # A thread may be a little early to compensate for waking up late.
    assert time.monotonic() - began >= 3 / 20


def test_a_secret_makes_it_a_jwt_client() -> None:
    """A token for each user, in addition to the key."""
    with SandboxProcess(SandboxOptions(jwt_secret=SECRET)) as sandbox:
        key = sandbox.options.api_key
        with IterableClient(key, sandbox.url, SECRET) as client:
            accepted = client.update_user(EMAIL, FIELDS)
        with IterableClient(key, sandbox.url) as client:
            refused = client.update_user(EMAIL, FIELDS)

    assert (accepted.success, refused.status_code) == (True, 401)


def test_an_answer_that_repeats_the_key_is_masked(api: Api) -> None:
    """As in a run."""
    body = {"code": "BadApiKey", "msg": "sandbox-key is none"}
    api.sandbox.faults([{"endpoint": "*", "kind": "status", "status": 401, "body": body}])
    with IterableClient("sandbox-key", api.sandbox.url) as client:
        result = client.update_user(EMAIL, FIELDS)

    assert result.response == {"code": "BadApiKey", "msg": "*** is none"}


@pytest.mark.parametrize(
    ("email", "fields", "reason"),
    [
        ("ada", FIELDS, "not sent: the email has no @"),
        ("", FIELDS, "not sent: the customer has no email"),
        (None, FIELDS, "not sent: the customer has no email"),
        (EMAIL, {"a": object()}, "not sent: it cannot be written as JSON: Type is not JSON"),
        (EMAIL, {"a": "\ud800"}, "not sent: it cannot be written as JSON: "),
        (EMAIL, {1: "a"}, "not sent: it cannot be written as JSON: Dict key must be str"),
        ("\ud800@example.com", FIELDS, "not sent: it cannot be written as JSON: "),
    ],
    ids=["no @", "empty", "none", "no JSON", "surrogate", "number as key", "surrogate in email"],
)
def test_what_cannot_be_sent_is_an_invalid_record(
    api: Api, client: IterableClient, email: Any, fields: Any, reason: str
) -> None:
    """One bad row of many has a result like the others, and nothing is sent."""
    updated = client.update_user(email, fields)
    tracked = client.track_event(email, "page_view", fields)

    assert updated == tracked
    assert (updated.success, updated.attempts, updated.error) == (False, 0, "invalid_record")
    assert str(updated.response).startswith(reason)
    assert api.sandbox.calls() == []


def test_fields_that_are_not_a_mapping_are_a_type_error(client: IterableClient) -> None:
    """A bug, which is raised."""
    with pytest.raises(TypeError):
        client.update_user(EMAIL, 5)  # type: ignore[arg-type]


def test_a_time_without_a_zone_is_a_value_error(client: IterableClient) -> None:
    """It could be in any time zone."""
    with pytest.raises(ValueError, match="has no time zone"):
        client.track_event(EMAIL, "page_view", {}, created_at=CREATED.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "^the API key is a value that is not shown"),
        (("hidden\nkey",), "^the API key is a value that is not shown"),
        (("key", "http://api.iterable.com"), "^the base URL must be https"),
        (("key", "https://api.iterable.com/api?x=1"), "^the base URL must consist of"),
        (("key", "https://api.iterable.com:port"), "(?i)port"),
        (("key", "https://api.iterable.com", ""), "^jwt_secret "),
        (("key", "https://api.iterable.com", "ssh-rsa AAAAB3Nza a@b.io"), "^jwt_secret is a pub"),
    ],
)
def test_unusable_arguments_are_refused_by_the_constructor(
    arguments: tuple[str, ...], message: str
) -> None:
    """A key over plain http or in two lines, an address with a path, a key pair as a secret."""
    with pytest.raises(ValueError, match=message) as refused:
        IterableClient(*arguments)

    assert "hidden" not in str(refused.value)


def test_no_repr_shows_a_secret(client: IterableClient) -> None:
    """The object may be printed in a notebook."""
    assert "sandbox-key" not in repr(client) + repr(vars(client))
