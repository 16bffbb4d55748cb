"""Why records are rejected, in more words than their codes; found again from their raw pages."""

from __future__ import annotations

from contextlib import closing
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from integration.ingest.errors import IngestError
from integration.ingest.raw_pages import read_page
from integration.ingest.validation import PageValidation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from integration.database.writing import WriteSession
    from integration.ingest.models import Reader
    from integration.ingest.rejections import RejectedRecord
    from integration.ingest.sources import Source

VALID_NOW = "valid as the source is configured now; --retry stores it"
# Of these, the database decides; validation has nothing to say about them.
_DECIDED_BY_DATABASE = {"conflict", "unknown_customer"}
_page_of = attrgetter("source", "run_id", "page")


def with_details(
    session: WriteSession,
    records: Sequence[RejectedRecord],
    sources: Sequence[Source],
    open_reader: Callable[[Source], Reader],
) -> Iterator[RejectedRecord]:
    """The same records with details, where their pages are stored and their sources configured.

    Args:
        session: the session.
        records: in the order of `open_records`.
        sources: those that are configured.
        open_reader: opens one of them; nothing is read from it.
    """
    configured = {source.name: source for source in sources}
    for (name, run_id, page), group in groupby(records, _page_of):
        some = list(group)
        source = configured.get(name)
        details: Mapping[int, str] = {}
        if source is not None and any(one.code not in _DECIDED_BY_DATABASE for one in some):
            positions = [one.position for one in some]
            details = _details(session, source, open_reader, (run_id, page), positions)
        for one in some:
            decided = one.code in _DECIDED_BY_DATABASE
            yield one if decided else one._replace(detail=details.get(one.position, ""))


def _details(
    session: WriteSession,
    source: Source,
    open_reader: Callable[[Source], Reader],
    page: tuple[int, int],
    positions: Sequence[int],
) -> dict[int, str]:
    """What validation says about these records of a page now; nothing if it cannot be decoded."""
    try:
        stored = read_page(session, *page)
        with closing(open_reader(source)) as reader:
            records = reader.records_of(stored.content, stored.origin)
    except IngestError:
        return {}
    known = [position for position in positions if position < len(records)]
    _, rejected = PageValidation(source).validate([records[position] for position in known])
    found = {known[one.index]: one.detail for one in rejected}
    return {position: found.get(position, VALID_NOW) for position in known}
