"""The credentials of a request."""

from __future__ import annotations

import logging
import time
import traceback

import jwt
import pytest

from integration.iterable.authentication import (
    ApiKeyAuthentication,
    Authentication,
    JwtAuthentication,
    SecretError,
)

KEY = "key-of-the-project"
SECRET = "a-jwt-secret-of-thirty-two-bytes!"
NOW = 1_768_314_645


def claims_of(headers: dict[str, str]) -> dict[str, object]:
    """The verified claims of the token in these headers."""
    scheme, token = headers["Authorization"].split()
    assert scheme == "Bearer"
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims: dict[str, object] = jwt.decode(
        token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False}
    )
    return claims


@pytest.mark.parametrize("email", ["ada@example.com", None])
def test_an_api_key_is_the_same_for_all_users(email: str | None) -> None:
    """One header, and no token."""
    assert ApiKeyAuthentication(KEY).headers(email) == {"Api-Key": KEY}


def test_a_jwt_is_sent_in_addition_to_the_key() -> None:
    """A JWT key is still a key: Iterable answers 401 to a token alone."""
    headers = JwtAuthentication(KEY, SECRET).headers("ada@example.com")
    assert headers["Api-Key"] == KEY
    assert set(headers) == {"Api-Key", "Authorization"}


def test_a_token_has_the_documented_claims() -> None:
    """Issuer, now, one hour later, and the user; times are whole seconds."""
    authentication = JwtAuthentication(KEY, SECRET, clock=lambda: NOW + 0.9)
    assert claims_of(authentication.headers("Ada@Example.com")) == {
        "iss": "iterable-integration",
        "iat": NOW,
        "exp": NOW + 3600,
        "email": "Ada@Example.com",
    }


def test_the_creation_of_a_token_is_logged_without_the_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged at DEBUG, like the calls."""
    caplog.set_level(logging.DEBUG)
    JwtAuthentication(KEY, SECRET).headers("ada@example.com")
    assert caplog.record_tuples == [
        ("integration.iterable.authentication", logging.DEBUG, "JWT token generated successfully")
    ]


def test_each_request_gets_a_token_for_its_user_and_time() -> None:
    """No token is used for another user or after its expiry, however long a retry waits."""
    moments = iter([NOW, NOW, NOW + 7200])
    authentication = JwtAuthentication(KEY, SECRET, clock=lambda: next(moments))
    tokens = [claims_of(authentication.headers(email)) for email in ("a@x.io", "b@x.io", "a@x.io")]
    assert [(token["email"], token["iat"]) for token in tokens] == [
        ("a@x.io", NOW),
        ("b@x.io", NOW),
        ("a@x.io", NOW + 7200),
    ]


def test_the_clock_is_the_systems() -> None:
    """A token created now is valid now: PyJWT checks its times."""
    before = int(time.time())
    token = JwtAuthentication(KEY, SECRET).headers("ada@example.com")["Authorization"].split()[1]
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert before <= claims["iat"] <= time.time()


@pytest.mark.parametrize(
    "authentication", [ApiKeyAuthentication(KEY), JwtAuthentication(KEY, SECRET)]
)
def test_no_repr_shows_a_secret(authentication: Authentication) -> None:
    """It may appear in a traceback."""
    assert KEY not in repr(authentication)
    assert SECRET not in repr(authentication)


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (
            "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----",
            "is a public or private key",
        ),
        ("ssh-rsa AAAAB3Nza ada@example.com", "is a public or private key"),
        (b"secr\xe9t-secret-value".decode("utf-8", "surrogateescape"), "is not UTF-8 text"),
    ],
    ids=["PEM", "ssh", "Latin-1"],
)
def test_an_invalid_secret_is_refused_immediately(secret: str, reason: str) -> None:
    """Before the first call, with the reason and without the secret."""
    with pytest.raises(SecretError, match=f"^{reason}") as caught:
        JwtAuthentication(KEY, secret)

    assert secret not in "".join(traceback.format_exception(caught.value))
