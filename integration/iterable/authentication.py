"""Authentication of requests: an API key, or an API key and a token for the user."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

ISSUER = "iterable-integration"
TOKEN_LIFETIME_SECONDS = 3600


class SecretError(ValueError):
    """A JWT secret that cannot sign a token; the message does not contain the secret."""


class Authentication(Protocol):
    """Provides the headers of a request."""

    def headers(self, email: str | None) -> dict[str, str]:
        """The headers of a request about `email`, or of a bulk request (None)."""
        ...


@dataclass(frozen=True, slots=True)
class ApiKeyAuthentication:
    """Iterable's `Api-Key` header."""

    api_key: str = field(repr=False)

    def headers(self, email: str | None) -> dict[str, str]:  # noqa: ARG002  same for all users
        """The key, whatever user the request is about."""
        return {"Api-Key": self.api_key}


@dataclass(frozen=True, slots=True)
class JwtAuthentication:
    """A JWT-enabled key: `Api-Key`, and a token for the user of the request.

    Each request gets a new token, so that no token expires during the wait before a retry.
    Source: Iterable, "JWT-enabled API keys".

    Raises:
        SecretError: on creation, so that no run starts with such a secret.
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
    import jwt  # noqa: PLC0415  only JWT keys need it
    from jwt.warnings import InsecureKeyLengthWarning  # noqa: PLC0415

    # Iterable chooses the secret, so a warning about its length would not help the operator.
    warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)
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
    import jwt  # noqa: PLC0415  only JWT keys need it

    return jwt.encode(claims, secret, algorithm="HS256")


def authentication_of(api_key: str, jwt_secret: str | None) -> Authentication:
    """Authentication with a token if there is a secret to sign it.

    Raises:
        SecretError: the secret cannot sign a token.
    """
    if jwt_secret is None:
        return ApiKeyAuthentication(api_key)
    try:
        return JwtAuthentication(api_key, jwt_secret)
    except SecretError as error:
        raise SecretError(f"jwt_secret {error}") from None
