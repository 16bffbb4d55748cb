"""What is said about runs that left users pending. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integration.core.models import Run
    from integration.journal.backlog import Backlog, Unsendable


def unfinished_message(backlog: Backlog) -> str:
    """The line about a run that did not finish."""
    run = _named(backlog.run)
    if not backlog.run.is_loaded:
        return f"{run} did not load its users, and sent nothing"
    return f"{run} did not finish: {backlog.pending_users} user(s) are pending"


def other_project_message(backlog: Backlog) -> str:
    """The line about a run that only the settings it started with can resume."""
    left = f"left {backlog.pending_users} user(s) pending"
    return (
        f"{_named(backlog.run)} was for another ITERABLE_API_BASE_URL or ITERABLE_API_KEY and"
        f" {left if backlog.run.is_loaded else 'did not load its users'}:"
        " resume it with those settings, or start a new run"
    )


def unsendable_message(found: Unsendable) -> str:
    """The line about users that can never be sent as they are."""
    number = sum(count for _, count in found.reasons)
    reasons = ", ".join(f"{count} × {reason}" for reason, count in found.reasons)
    return (
        f"{number} user(s) of run {found.run.run_id} cannot be sent and are not"
        f" retried ({reasons}): correct their rows in the database, then start a new run"
    )


def _named(run: Run) -> str:
    sync = f" of sync {run.sync}" if run.sync else ""
    return f"Run {run.run_id}{sync} of {to_second(run.started_at)} UTC"


def to_second(iso_time: str) -> str:
    """An ISO time in UTC, to the second."""
    return iso_time[:19].replace("T", " ")
