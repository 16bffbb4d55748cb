"""`NOTIFY_WHEN`: the thresholds of a run that a notification tells of; each is off until set."""

from __future__ import annotations

import re
from typing import NamedTuple

ALLOWED = (
    "thresholds separated by commas: failed_percent>N (from 0 to below 100), empty_list,"
    " duration>Nx (above 1), such as: failed_percent>5, empty_list, duration>2x"
)
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_FAILED = re.compile(rf"failed_percent\s*>\s*{_NUMBER}\s*%?", re.ASCII)
_DURATION = re.compile(rf"duration\s*>\s*{_NUMBER}\s*x", re.ASCII)


class Thresholds(NamedTuple):
    """What is unusual about a run.

    Attributes:
        failed_percent: more of its users than that were not fully delivered.
        empty_list: there are no users to send.
        duration: it took more than so many times the median of the last runs.
    """

    failed_percent: float | None = None
    empty_list: bool = False
    duration: float | None = None


def thresholds(text: str) -> Thresholds:
    """The thresholds of a text, each at most once.

    Raises:
        ValueError: it is not one of `ALLOWED`.
    """
    parts = [_threshold(part.strip()) for part in text.lower().split(",")]
    found = dict(parts)
    if len(found) < len(parts):
        raise ValueError("a threshold is named twice")
    return Thresholds(
        failed_percent=found.get("failed_percent"),
        empty_list="empty_list" in found,
        duration=found.get("duration"),
    )


def _threshold(part: str) -> tuple[str, float]:
    if part == "empty_list":
        return part, 0
    if match := _FAILED.fullmatch(part):
        return "failed_percent", _below(float(match[1]), 100)
    if match := _DURATION.fullmatch(part):
        return "duration", -_below(-float(match[1]), -1)
    raise ValueError(part)


def _below(number: float, bound: float) -> float:
    if number >= bound:
        raise ValueError(number)
    return number
