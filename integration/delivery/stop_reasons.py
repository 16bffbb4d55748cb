"""Why a delivery stops before its last user, and what the operator should check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.core.exit_codes import ExitCode
from integration.core.models import KEY_REFUSED
from integration.core.shutdown import StopReason

if TYPE_CHECKING:
    from pathlib import Path

    from integration.core.models import ErrorKind

MAX_UNREACHABLE_CALLS = 20
MAX_BLOCKED_USERS = 3
# What to check for the codes that blame the token and not the key.
_TOKEN_SETTINGS = {
    "InvalidJwtPayload": "ITERABLE_JWT_SECRET",
    "JwtUserIdentifiersMismatched": "ITERABLE_JWT_SECRET",
    "BadAuthorizationHeader": "USE_JWT_AUTH and ITERABLE_JWT_SECRET",
}
_KEY_SETTINGS = "ITERABLE_API_KEY and ITERABLE_API_BASE_URL"
THREAD_LIMITS = "(ulimit -u, TasksMax, pids.max)"

UNREACHABLE = StopReason(
    "stopped",
    f"Iterable is unreachable: {MAX_UNREACHABLE_CALLS} consecutive calls exhausted their attempts;"
    " check the network, the proxy and ITERABLE_API_BASE_URL",
    ExitCode.UNAVAILABLE,
)
RATE_LIMITED = StopReason(
    "stopped",
    f"The account is rate limited: {MAX_UNREACHABLE_CALLS} consecutive calls failed, the last with"
    " status 429; check what else uses the project, lower RATE_LIMIT_SHARE, and try again later",
    ExitCode.UNAVAILABLE,
)
NO_THREADS = StopReason(
    "stopped",
    f"No worker thread can be started: raise the limit of processes and threads {THREAD_LIMITS}",
    ExitCode.CONFIGURATION,
)


def unavailable(last_failure: ErrorKind | None) -> StopReason:
    """The reason when too many consecutive calls exhausted their attempts."""
    return RATE_LIMITED if last_failure == "rate_limited" else UNREACHABLE


def key_refused(code: str | None) -> StopReason:
    """The reason when Iterable refused the key; its code tells which settings may be wrong."""
    settings = _TOKEN_SETTINGS.get(code or "", _KEY_SETTINGS)
    return StopReason("stopped", f"{KEY_REFUSED}: check {settings}", ExitCode.KEY_REFUSED)


def blocked(status: int | None) -> StopReason:
    """The reason when something between here and Iterable refuses every user."""
    return StopReason(
        "stopped",
        f"{MAX_BLOCKED_USERS} consecutive users were refused with status {status}, but not by"
        " Iterable itself: check the firewall or proxy in between, then ITERABLE_API_BASE_URL"
        " and ITERABLE_API_KEY",
        ExitCode.KEY_REFUSED,
    )


def journal_gone(path: Path) -> StopReason:
    """The reason when the next run would not find the journal."""
    return StopReason(
        "stopped",
        f"The journal {path} was removed or replaced during the run, so later runs will not know"
        " about this one: see its results file for what was sent, and find out what changed the"
        " journal before the next run",
        ExitCode.CONFIGURATION,
    )
