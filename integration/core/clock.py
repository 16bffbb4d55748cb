"""Time: UTC everywhere, except local time in file names."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def local_now() -> datetime:
    """The current time in the local time zone."""
    return utc_now().astimezone()


def to_iso(moment: datetime) -> str:
    """ISO 8601 with microseconds, as in the journal and the results file."""
    return moment.isoformat(timespec="microseconds")


def utc_now_iso() -> str:
    """The current time in UTC as `to_iso` formats it."""
    return to_iso(utc_now())


def unix_seconds(moment: datetime | int) -> int:
    """Whole seconds since 1970; an int is returned as it is.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return int(moment.timestamp())
