"""Counts of the records of a page or run, by outcome."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Counts:
    """How many records were stored, changed or refused.

    Attributes:
        records: all that were read; always the sum of the other four.
        inserted: new rows.
        updated: rows that were changed.
        unchanged: records that needed no write, and those that a later one of the page replaced.
        rejected: records that cannot be stored.
    """

    records: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(Counts))
        )
