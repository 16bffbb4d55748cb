"""What can be done with a page before it is stored, while the database stores the one before it.

Decoding, validating and compressing need no database: the thread that reads the pages does them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from integration.ingest.mapping import field_paths
from integration.ingest.raw_pages import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from integration.ingest.models import RawPage
    from integration.ingest.raw_pages import PackedPage
    from integration.ingest.validation import PageValidation, ValidatedPage


# How many pages are read before the one is stored that is stored the slowest.
MAX_PAGES_AHEAD = 8
MAX_BYTES_AHEAD = 2_000_000


class PreparedPage(NamedTuple):
    """A page that is ready to be stored.

    Attributes:
        page: as it was received.
        fields: the paths of the fields that its records have.
        checked: its records.
        packed: its content, compressed.
    """

    page: RawPage
    fields: frozenset[str]
    checked: ValidatedPage
    packed: PackedPage


def prepared(pages: Iterable[RawPage], validation: PageValidation) -> Iterator[PreparedPage]:
    """The same pages, prepared one at a time when they are asked for."""
    for page in pages:
        fields = frozenset(page.columns) or field_paths(page.records)
        yield PreparedPage(page, fields, validation.validate(page.records), pack(page.content))


def has_room(waiting: Sequence[RawPage]) -> bool:
    """Whether to read another page while these wait to be prepared: some small ones, or one."""
    size = sum(len(page.content) for page in waiting)
    return not waiting or (len(waiting) < MAX_PAGES_AHEAD and size < MAX_BYTES_AHEAD)
