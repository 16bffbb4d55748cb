"""What can be done with a page before it is stored, while the database stores the one before it.

Decoding, validating and compressing need no database: the thread that reads the pages does them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from integration.ingest.mapping import field_paths
from integration.ingest.raw_pages import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from integration.ingest.models import RawPage
    from integration.ingest.raw_pages import PackedPage
    from integration.ingest.validation import PageValidation, ValidatedPage


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
