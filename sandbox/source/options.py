"""How a mock source behaves: one frozen value, shared by its command line and `SourceProcess`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

DEFAULT_NEWEST = "2026-01-31T00:00:00Z"


def _checked_time(text: str) -> str:
    if text == "now":
        return datetime.now(UTC).isoformat(timespec="seconds")
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time zone is expected, as in 2026-01-31T00:00:00Z, or now")
    return text


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class SourceOptions:
    """What the mock source has and how it answers; each field is also a command line option."""

    customers: Annotated[NonNegativeInt, Field(description="how many customers it has")] = 1000
    page_views: Annotated[NonNegativeInt, Field(description="how many page views it has")] = 1000
    newest: Annotated[
        str,
        AfterValidator(_checked_time),
        Field(
            description="updated_at of the last record, or now; each record before it is a second"
            " older"
        ),
    ] = DEFAULT_NEWEST
    bad: Annotated[
        float, Field(ge=0, le=1, description="the share of records with something wrong")
    ] = 0.0
    token: Annotated[
        str, Field(description="demand it as `Authorization: Bearer` or `X-Api-Key`; empty: no")
    ] = ""
    latency: Annotated[
        NonNegativeFloat, Field(description="seconds between a request and its answer")
    ] = 0.0
    page_size: Annotated[
        int, Field(ge=1, description="records of a page when the request does not say how many")
    ] = 100
    max_page_size: Annotated[
        int, Field(ge=1, description="records of a page at most, whatever the request says")
    ] = 10_000
    no_ranges: Annotated[
        bool, Field(description="send files as a whole, whatever range is requested")
    ] = False

    def changed(self, changes: dict[str, Any]) -> SourceOptions:
        """Return these options with some replaced.

        Raises:
            pydantic.ValidationError: a value does not fit its option.
            TypeError: there is no such option.
        """
        return replace(self, **changes)
