"""Addresses that make the sandbox misbehave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.misbehaviour import misbehaviour_of
from tests.support import sandbox_api
from tests.support.sandbox_api import EMAIL

if TYPE_CHECKING:
    from tests.support.sandbox_api import Api

running_sandbox_fixture = sandbox_api.running_sandbox_fixture
api_fixture = sandbox_api.api_fixture


@pytest.mark.parametrize(
    ("name", "profile", "event"),
    [
        ("forgotten", (409, "ForgottenUserError"), (409, "ForgottenUserError")),
        (
            "typemismatch",
            (400, "RequestFieldsTypesMismatched"),
            (400, "RequestFieldsTypesMismatched"),
        ),
        ("invaliddata", (400, "BadParams"), (400, "UnknownEmailError")),
        ("conflict", (409, "Conflict"), (400, "UnknownEmailError")),
        ("eventrefused", (200, "Success"), (400, "BadParams")),
        ("profilerefused", (400, "BadParams"), (200, "Success")),
        ("toolarge", (200, "Success"), (200, "Success")),
    ],
)
def test_an_address_misbehaves_in_single_calls(
    api: Api, name: str, profile: tuple[int, str], event: tuple[int, str]
) -> None:
    """The start of the address decides the answer to both calls."""
    email = f"{name}.user@example.com"
    first, second = api.update(email), api.track(email, id="x")
    assert (first.status_code, first.json()["code"]) == profile
    assert (second.status_code, second.json()["code"]) == event
    assert (email in api.users()) == (profile[0] == 200)
    assert bool(api.events()) == (event[0] == 200)


@pytest.mark.parametrize(
    ("name", "profile_list", "event_list"),
    [
        ("forgotten", "forgottenEmails", "forgottenEmails"),
        ("invaliddata", "invalidDataEmails", "notFoundEmails"),
        ("conflict", "conflictEmails", "notFoundEmails"),
        ("eventrefused", None, "invalidEmails"),
        ("profilerefused", "invalidDataEmails", None),
        ("disallowedevent", None, None),
    ],
)
def test_an_address_misbehaves_in_bulk_calls(
    api: Api, name: str, profile_list: str | None, event_list: str | None
) -> None:
    """The address is in the list for its reason; the others are applied."""
    email = f"{name}.user@example.com"
    for answer, expected in (
        (api.update_bulk(EMAIL, email), profile_list),
        (api.track_bulk(EMAIL, email), event_list),
    ):
        failed = {key: emails for key, emails in answer.json()["failedUpdates"].items() if emails}
        assert failed == ({expected: [email]} if expected else {})
    assert EMAIL in api.users()
    assert api.events()["e-0"]["email"] == EMAIL


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("typemismatch", 400, "RequestFieldsTypesMismatched"), ("toolarge", 413, "BatchTooLarge")],
)
def test_an_address_refuses_a_whole_bulk_call(api: Api, name: str, status: int, code: str) -> None:
    """One such record, and nothing of the call is applied."""
    api.update()
    email = f"{name}@example.com"
    for answer in (api.update_bulk(EMAIL, email), api.track_bulk(EMAIL, email)):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert api.users()[EMAIL]["updates"] == 1
    assert api.events() == {}


def test_a_disallowed_event_hides_behind_a_200(api: Api) -> None:
    """Only the message shows that the event was not stored."""
    api.update("disallowedevent@example.com")
    answer = api.track("disallowedevent@example.com")
    assert (answer.status_code, answer.json()["code"]) == (200, "Success")
    assert answer.json()["msg"] == "Event page_view is disallowed from tracking."
    assert api.events() == {}


@pytest.mark.parametrize("email", [EMAIL, "not-forgotten@example.com"])
def test_other_addresses_behave(email: str) -> None:
    """Only the start of the local part counts."""
    assert misbehaviour_of(email) is None
