"""What the configuration says about writing a source, and the outcome of the rows of a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from integration.ingest.counts import Counts

if TYPE_CHECKING:
    from integration.ingest.models import Entity, Rejection


class Destination(Protocol):
    """The part of a source's configuration that writing needs.

    Attributes:
        name: the source.
        entity: customers or page views.
        owns_ids: whether its keys become `customers.id`.
        customer: how a page view names its customer.
        customer_source: with `customer = "key"`, the source whose key it is.
        max_rejected_percent: of a page; above it, the run stops before it commits the page.
        limits_every_page: whether that holds for pages of a few records, too.
    """

    @property
    def name(self) -> str:
        """The source."""

    @property
    def entity(self) -> Entity:
        """Customers or page views."""

    @property
    def owns_ids(self) -> bool:
        """Whether its keys become `customers.id`."""

    @property
    def customer(self) -> Literal["id", "key", "email"]:
        """How a page view names its customer."""

    @property
    def customer_source(self) -> str | None:
        """With `customer = "key"`, the source whose key it is."""

    @property
    def max_rejected_percent(self) -> float:
        """Of a page; above it, the run stops before it commits the page."""

    @property
    def limits_every_page(self) -> bool:
        """Whether that holds for pages of a few records, too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of valid rows."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejections: tuple[Rejection, ...] = ()

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            (*self.rejections, *other.rejections),
        )

    @property
    def counts(self) -> Counts:
        """The numbers; all records together are their sum."""
        rejected = len(self.rejections)
        records = self.inserted + self.updated + self.unchanged + rejected
        return Counts(records, self.inserted, self.updated, self.unchanged, rejected)
