"""The time, as this program keeps it: UTC, but for the names of files."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def local_now() -> datetime:
    """This moment as the clock on the wall shows it."""
    return utc_now().astimezone()


def to_iso(moment: datetime) -> str:
    """A moment as journal and results file show it: ISO 8601 with microseconds."""
    return moment.isoformat(timespec="microseconds")


def utc_now_iso() -> str:
    """This moment, in the same form."""
    return to_iso(utc_now())


def unix_seconds(moment: datetime | int) -> int:
    """Whole seconds since 1970.

    Raises:
        ValueError: a moment without a time zone, which could be anywhere's.
    """
    if isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return int(moment.timestamp())
