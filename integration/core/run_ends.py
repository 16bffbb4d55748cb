"""How runs of sources ended, as it is told to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Extent(NamedTuple):
    """How long a complete run took, and what it is compared with.

    Attributes:
        earlier: seconds of the last runs of the same kind.
    """

    seconds: float
    earlier: Sequence[float] = ()


class SourceEnd(NamedTuple):
    """How the run of a source ended."""

    name: str
    exit_code: int
    error: str | None = None
    records: int = 0
    rejected: int = 0
    extent: Extent | None = None
