"""Keys and tokens that the sandbox accepts and rejects."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import jwt
import pytest

from tests.support import sandbox_api
from tests.support.sandbox_api import EMAIL

if TYPE_CHECKING:
    from tests.support.sandbox_api import Api

running_sandbox_fixture = sandbox_api.running_sandbox_fixture
api_fixture = sandbox_api.api_fixture

SECRET = "a-harmless-secret-of-32-characters"
YEAR = 365 * 24 * 3600
NOW = int(time.time())


def token(secret: str = SECRET, **changes: object) -> dict[str, str]:
    """Return an Authorization header; a claim set to None is omitted."""
    now = int(time.time())
    claims = {"iss": "tests", "iat": now, "exp": now + 3600, "email": EMAIL, **changes}
    present = {name: value for name, value in claims.items() if value is not None}
    return {"Authorization": f"Bearer {jwt.encode(present, secret, algorithm='HS256')}"}


@pytest.mark.parametrize("key", ["wrong", "", None])
def test_a_wrong_key_is_refused_everywhere(api: Api, key: str | None) -> None:
    """401 BadApiKey in the recorded form, for writes and reads; nothing is applied."""
    api.session.headers["Api-Key"] = key  # type: ignore[assignment] # None leaves it out
    answers = [api.update(), api.update_bulk(EMAIL), api.get("users/getFields")]
    assert {answer.status_code for answer in answers} == {401}
    assert answers[0].json() == {
        "msg": "Invalid API key",
        "code": "BadApiKey",
        "params": {"ip": "127.0.0.1", "endpoint": "/api/users/update"},
    }
    assert api.users() == {}


def test_a_key_may_be_forbidden_to_call_bulk(api: Api) -> None:
    """forbid_bulk rejects both bulk calls and nothing else."""
    api.sandbox.configure(forbid_bulk=True)
    answers = [api.update_bulk(EMAIL), api.track_bulk(EMAIL)]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(403, "Forbidden")] * 2
    assert api.update().status_code == 200
    assert api.get("users/getFields").status_code == 200


@pytest.mark.parametrize("header", [token(), token(email=EMAIL.upper())])
@pytest.mark.parametrize("email", [EMAIL, EMAIL.upper()])
def test_a_token_of_the_right_user_is_accepted(
    api: Api, header: dict[str, str], email: str
) -> None:
    """The token's email is compared without case."""
    api.sandbox.configure(jwt_secret=SECRET)
    for path in ("users/update", "events/track"):
        body = {"email": email, "eventName": "page_view"}
        assert api.post(path, body, headers=header).status_code == 200


def test_a_token_does_not_replace_the_key(api: Api) -> None:
    """A JWT key is still a key."""
    api.sandbox.configure(jwt_secret=SECRET)
    api.session.headers["Api-Key"] = "wrong"
    assert api.post("users/update", {"email": EMAIL}, headers=token()).json()["code"] == "BadApiKey"


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer"}, {"Authorization": "Basic x"}])
def test_a_missing_token_is_refused(api: Api, header: dict[str, str]) -> None:
    """Without Bearer and a token: 401 BadAuthorizationHeader."""
    api.sandbox.configure(jwt_secret=SECRET)
    answer = api.post("users/update", {"email": EMAIL}, headers=header)
    assert (answer.status_code, answer.json()["code"]) == (401, "BadAuthorizationHeader")


@pytest.mark.parametrize(
    "header",
    [
        {"Authorization": "Bearer not-a-token"},
        token("another-secret-of-at-least-32-characters"),
        token(exp=None),
        token(iat=None),
        token(exp=NOW - 1),
        token(exp=NOW + YEAR, iat=NOW),
        token(exp=time.time() + 60.5),
    ],
    ids=["garbage", "signature", "no exp", "no iat", "expired", "too long", "fraction"],
)
def test_a_bad_token_is_refused(api: Api, header: dict[str, str]) -> None:
    """Signature, exp and iat are checked: 401 InvalidJwtPayload."""
    api.sandbox.configure(jwt_secret=SECRET)
    answer = api.post("users/update", {"email": EMAIL}, headers=header)
    assert (answer.status_code, answer.json()["code"]) == (401, "InvalidJwtPayload")
    assert api.users() == {}


@pytest.mark.parametrize("email", ["bob@example.com", None, 5])
def test_a_token_of_another_user_is_refused(api: Api, email: object) -> None:
    """The token must name the user of the body."""
    api.sandbox.configure(jwt_secret=SECRET)
    answer = api.post("users/update", {"email": EMAIL}, headers=token(email=email))
    assert (answer.status_code, answer.json()["code"]) == (401, "JwtUserIdentifiersMismatched")


@pytest.mark.parametrize(("status", "code"), [(403, "Forbidden"), (401, "Unauthorized")])
def test_a_jwt_key_may_not_call_bulk_or_read(api: Api, status: int, code: str) -> None:
    """Client-side keys may make only the two single writes."""
    api.sandbox.configure(jwt_secret=SECRET, jwt_bulk_status=status)
    answers = [api.update_bulk(EMAIL), api.track_bulk(EMAIL), api.get(f"users/{EMAIL}")]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(status, code)] * 3
