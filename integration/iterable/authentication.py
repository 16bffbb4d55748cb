"""How a request proves who sends it: an API key, or an API key and a token for its user."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import jwt
from jwt.warnings import InsecureKeyLengthWarning

if TYPE_CHECKING:
    from collections.abc import Callable

# The secret is Iterable's choice: nobody who reads a warning about its length could change it.
warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)

logger = logging.getLogger(__name__)

ISSUER = "iterable-integration"
TOKEN_LIFETIME_SECONDS = 3600


class SecretError(ValueError):
    """A JWT secret with which no token can be signed; the message does not show it."""


class Authentication(Protocol):
    """Gives the headers for one request."""

    def headers(self, email: str | None) -> dict[str, str]:
        """The headers of a request about `email`, or of one about many users."""
        ...


@dataclass(frozen=True, slots=True)
class ApiKeyAuthentication:
    """Iterable's `Api-Key` header."""

    api_key: str = field(repr=False)

    def headers(self, email: str | None) -> dict[str, str]:  # noqa: ARG002  same for everybody
        """The key, whoever the request is about."""
        return {"Api-Key": self.api_key}


@dataclass(frozen=True, slots=True)
class JwtAuthentication:
    """A JWT key: `Api-Key` and beside it a token that names the user of the request.

    Each request gets a token of its own, so that none is ever used past its time, however
    long a retry waits. Source: Iterable, "JWT-enabled API keys".

    Raises:
        SecretError: when it is made, so that no run begins with such a secret.
    """

    api_key: str = field(repr=False)
    secret: str = field(repr=False)
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        check_secret(self.secret)

    def headers(self, email: str | None) -> dict[str, str]:
        """The key and an HS256 token for `email`, valid for one hour."""
        issued_at = int(self.clock())
        claims: dict[str, object] = {
            "iss": ISSUER,
            "iat": issued_at,
            "exp": issued_at + TOKEN_LIFETIME_SECONDS,
            "email": email,
        }
        token = _signed(claims, self.secret)
        logger.debug("JWT token generated successfully")
        return {"Api-Key": self.api_key, "Authorization": f"Bearer {token}"}


def check_secret(secret: str) -> None:
    """Check that a token can be signed with this JWT secret.

    Raises:
        SecretError: it cannot; the message does not contain the secret.
    """
    try:
        _signed({}, secret)
    except jwt.InvalidKeyError:
        # The library's message is about keys in general; the cause could contain the secret.
        raise SecretError(
            "is a public or private key or a certificate:"
            " HS256 needs the shared secret of the JWT key"
        ) from None
    except UnicodeEncodeError:
        raise SecretError("is not UTF-8 text") from None


def _signed(claims: dict[str, object], secret: str) -> str:
    return jwt.encode(claims, secret, algorithm="HS256")


def authentication_of(api_key: str, jwt_secret: str | None) -> Authentication:
    """By a token too, if there is a secret to sign it with.

    Raises:
        SecretError: the secret cannot be one.
    """
    if jwt_secret is None:
        return ApiKeyAuthentication(api_key)
    try:
        return JwtAuthentication(api_key, jwt_secret)
    except SecretError as error:
        raise SecretError(f"jwt_secret {error}") from None
