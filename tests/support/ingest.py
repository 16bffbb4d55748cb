"""Sources, pages and targets for the tests of the ingest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from integration.core.clock import utc_now
from integration.ingest.checkpoints import read_checkpoint
from integration.ingest.models import Entity, RawPage, Rejection, ValidRow
from integration.ingest.runs import start_run
from integration.ingest.tables import prepare_tables
from integration.ingest.target import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.database.writing import WriteSession
    from integration.ingest.outcome import Outcome

MINIMAL: dict[str, object] = {"plan_type": "pro"}


@dataclass(frozen=True)
class Source:
    """The part of a source's configuration that writing needs."""

    name: str = "crm"
    entity: Entity = "customers"
    owns_ids: bool = False
    customer: Literal["id", "key", "email"] = "email"
    customer_source: str | None = None
    max_rejected_percent: float = 100
    limits_every_page: bool = False


def customer(key: str | None, email: str, **values: object) -> tuple[str | None, dict[str, object]]:
    """A record of a customer."""
    return key, {**MINIMAL, "email": email, **values}


def rows_of(records: Sequence[tuple[str | None, dict[str, object]]]) -> list[ValidRow]:
    """The records of a page, all valid."""
    return [ValidRow(index, key, values) for index, (key, values) in enumerate(records)]


def raw_page(
    number: int,
    records: int,
    content: bytes = b"[]",
    position: dict[str, object] | None = None,
    origin: str = "https://crm.example.com/api",
) -> RawPage:
    """A page with this number of records."""
    return RawPage(
        number=number,
        content=content,
        origin=origin,
        records=[{}] * records,
        position=position or {"page": number},
        is_last=False,
    )


@dataclass
class Ingest:
    """A run of a source that writes pages of records."""

    session: WriteSession
    source: Source = field(default_factory=Source)
    kind: str = "http"

    def __post_init__(self) -> None:
        self.tables = prepare_tables(self.session)
        self.run_id = start_run(self.session, self.source.name, self.kind, utc_now())
        checkpoint = read_checkpoint(self.session, self.source.name)
        self.target = Target(
            self.session,
            self.tables,
            self.source,
            self.run_id,
            checkpoint,
            sleep=lambda seconds: None,
        )
        self.pages = 0

    def write(
        self,
        *records: tuple[str | None, dict[str, object]],
        rejections: Sequence[Rejection] = (),
        content: bytes = b"[]",
        position: dict[str, object] | None = None,
        origin: str = "https://crm.example.com/api",
    ) -> Outcome:
        """Store a page."""
        self.pages += 1
        page = raw_page(self.pages, len(records) + len(rejections), content, position, origin)
        return self.target.write_page(page, rows_of(records), rejections)


def counts(outcome: Outcome) -> tuple[int, int, int, int]:
    """Inserted, updated, unchanged, rejected; their sum is the number of records."""
    found = outcome.counts
    numbers = (found.inserted, found.updated, found.unchanged, found.rejected)
    assert sum(numbers) == found.records
    return numbers


def codes(outcome: Outcome) -> list[tuple[int, str]]:
    """The rejected records by position, with their codes."""
    return sorted((one.index, one.code) for one in outcome.rejections)


def emails(session: WriteSession) -> dict[int, str]:
    """The customers' emails by id."""
    return dict(session.query("SELECT id, email FROM customers"))


def links(session: WriteSession, entity: Entity = "customers") -> dict[tuple[str, str], int]:
    """The rows by source and key."""
    rows: list[tuple[Any, ...]] = session.query(
        "SELECT source, source_key, target_id FROM etl_records WHERE entity = %s", (entity,)
    )
    return {(source, key): target for source, key, target in rows}
