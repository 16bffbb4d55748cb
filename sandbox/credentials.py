"""Authorization: the Api-Key header, and the JWT of keys that require one."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Any

import jwt

from sandbox.answers import Answer, bad_api_key, envelope, forbidden
from sandbox.endpoints import BULK_WRITES, SINGLE_WRITES, Endpoint

if TYPE_CHECKING:
    from sandbox.options import SandboxOptions

MAX_TOKEN_SECONDS = 365 * 24 * 3600
# Signature first; the times are checked here, against the clock that is passed in.
_CHECKS: Any = {"require": ["exp", "iat"], "verify_exp": False, "verify_iat": False}


def key_refusal(
    options: SandboxOptions, endpoint: Endpoint, api_key: str, path: str
) -> Answer | None:
    """Return the refusal of a call that this key may not make, or None."""
    if not compare_digest(api_key.encode(), options.api_key.encode()):
        return bad_api_key(path)
    if options.jwt_secret and endpoint not in SINGLE_WRITES:
        return forbidden(options.jwt_bulk_status, path)
    if options.forbid_bulk and endpoint in BULK_WRITES:
        return forbidden(403, path)
    return None


def token_refusal(secret: str, authorization: str, email: str | None, now: float) -> Answer | None:
    """Return the refusal of a token that does not speak for `email` (lower case), or None."""
    scheme, _, token = authorization.partition(" ")
    if scheme != "Bearer" or not token:
        return envelope(401, "BadAuthorizationHeader", "Authorization: Bearer <jwt> is required")
    try:
        claims = jwt.decode(token, secret, algorithms=["HS256"], options=_CHECKS)
    except jwt.PyJWTError as error:
        return _invalid(str(error))
    problem = _time_problem(claims, now)
    if problem:
        return _invalid(problem)
    claimed = claims.get("email")
    if not isinstance(claimed, str) or claimed.lower() != email:
        message = "The token's email is not the request's"
        return envelope(401, "JwtUserIdentifiersMismatched", message)
    return None


def _time_problem(claims: dict[str, Any], now: float) -> str | None:
    issued_at, expires_at = claims["iat"], claims["exp"]
    if type(issued_at) is not int or type(expires_at) is not int:
        return "iat and exp must be unix seconds"
    if expires_at <= now:
        return "The token has expired"
    if expires_at - issued_at >= MAX_TOKEN_SECONDS:
        return "exp must be less than one year after iat"
    return None


def _invalid(reason: str) -> Answer:
    return envelope(401, "InvalidJwtPayload", f"Invalid JWT: {reason}")
