"""Finding and erasing a person's records in the raw pages.

A record is the person's if its source's key, its email or, for a page view, its customer is. It is
replaced by a mark at its place. An address that is anywhere else in a page is masked.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, NamedTuple, Self

from integration.core.personal_data import Person, PersonalData
from integration.ingest.errors import IngestError
from integration.ingest.kinds.erasing import without_records
from integration.ingest.mapping import lookup
from integration.ingest.models import Malformed
from integration.ingest.raw_pages import StoredPage, read_page, replace_content
from integration.ingest.sources import REFERENCE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from integration.database.writing import WriteSession
    from integration.ingest.models import RawRecord, Reader
    from integration.ingest.sources import Source

_SURROGATES = "surrogateescape"


class Page(NamedTuple):
    """A stored page.

    Attributes:
        source: None if it is not configured now, or the page is not of the form that it describes.
        records: of the page, decoded; none without a source.
    """

    source: Source | None
    stored: StoredPage
    records: Sequence[RawRecord]


class ErasedPage(NamedTuple):
    """A page without a person.

    Attributes:
        stored: the page as it is.
        positions: of the person's records.
        has_mentions: whether anything else in the page has an address.
        content: the page as it is to be stored.
        origin: the same.
    """

    stored: StoredPage
    positions: Sequence[int]
    has_mentions: bool
    content: bytes
    origin: str


class RawPages:
    """All raw pages of a database; a context manager that closes the readers.

    Args:
        session: the writable session; it has the etl_ tables.
        sources: by name, as they are configured; pages of others are searched as text.
        open_reader: opens a source; only its decoding of stored pages is used.

    Attributes:
        unreadable: the pages that are damaged, each as a line of text.
    """

    def __init__(
        self,
        session: WriteSession,
        sources: Mapping[str, Source],
        open_reader: Callable[[Source], Reader],
    ) -> None:
        self._session = session
        self._sources = sources
        self._open_reader = open_reader
        self._readers: dict[str, Reader] = {}
        self._cleanup = ExitStack()
        self.unreadable: dict[str, None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def known_of(self, person: Person) -> Person:
        """The addresses, names and keys in the records of the customer.

        A record that is in conflict with the customer may have the key of another one.
        """
        data, found = PersonalData(person), Person(frozenset())
        for page in self._pages(person):
            if page.source is None or page.source.entity != "customers":
                continue
            positions = matching(page.source, page.records, person, data)
            conflicts = self._rejected(page.stored, "conflict") if positions else set()
            for position in positions:
                identity = _identity(page.source, page.records[position])
                if position not in conflicts or identity.keys & person.keys:
                    found |= identity
        return found

    def erased(self, person: Person) -> Iterator[ErasedPage]:
        """The pages that have anything of the person, as they are to be stored."""
        data = PersonalData(person)
        for page in self._pages(person):
            content, positions, is_text = _without(page, person, data)
            masked = _masked(content, data, is_text=is_text)
            origin = data.mask_emails(page.stored.origin)
            if (masked, origin) != (page.stored.content, page.stored.origin):
                has_mentions = masked != content or origin != page.stored.origin
                yield ErasedPage(page.stored, positions, has_mentions, masked, origin)

    def store(self, erased: ErasedPage) -> None:
        """Store a page, and forget which of the erased records were rejected."""
        page = erased.stored
        with self._session.transaction():
            replace_content(self._session, page, erased.content, erased.origin)
            self._session.execute_many(
                "DELETE FROM etl_rejected WHERE run_id = %s AND page = %s AND position = %s",
                [(page.run_id, page.number, position) for position in erased.positions],
            )

    def rejected_pointers(self, erased: ErasedPage) -> set[tuple[int, int, int]]:
        """Run, page and position of the records to erase that were rejected."""
        page = erased.stored
        positions = self._rejected(page) & set(erased.positions)
        return {(page.run_id, page.number, position) for position in positions}

    def _rejected(self, page: StoredPage, code: str | None = None) -> set[int]:
        rows = self._session.query(
            "SELECT position, code FROM etl_rejected WHERE run_id = %s AND page = %s",
            (page.run_id, page.number),
        )
        return {position for position, its_code in rows if code in {None, its_code}}

    def _pages(self, person: Person) -> Iterator[Page]:
        """The pages that may have something of the person; one at a time is in memory."""
        tokens = _tokens(person)
        pages = self._session.query(
            "SELECT r.source, d.run_id, d.page FROM etl_raw_data d"
            " JOIN etl_runs r ON r.run_id = d.run_id ORDER BY d.run_id, d.page"
        )
        for name, run_id, number in pages:
            try:
                stored = read_page(self._session, run_id, number)
            except IngestError as error:
                self.unreadable[str(error)] = None
                continue
            if tokens is None or _has_any(stored, tokens):
                yield self._decoded(self._sources.get(name), stored)

    def _decoded(self, source: Source | None, stored: StoredPage) -> Page:
        if source is not None:
            reader = self._readers.get(source.name)
            if reader is None:
                reader = self._cleanup.enter_context(closing(self._open_reader(source)))
                self._readers[source.name] = reader
            try:
                records = reader.records_of(stored.content, stored.origin)
            except (IngestError, ValueError):
                pass
            else:
                return Page(source, stored, records)
        return Page(None, stored, ())


def _without(page: Page, person: Person, data: PersonalData) -> tuple[bytes, list[int], bool]:
    """The content without the person's records, their positions, and whether it is mere text."""
    content = page.stored.content
    positions = matching(page.source, page.records, person, data)
    if page.source is None or not positions:
        return content, positions, page.source is None
    try:
        return without_records(page.source, content, positions), positions, False
    except ValueError:
        return content, [], True


def matching(
    source: Source | None, records: Sequence[RawRecord], person: Person, data: PersonalData
) -> list[int]:
    """The positions of the person's records; of undecodable ones, those that mention them."""
    if source is None:
        return []
    is_of = _finder(source, person)
    return [
        position
        for position, record in enumerate(records)
        if (data.mentions(record.text) if isinstance(record, Malformed) else is_of(record))
    ]


def _finder(source: Source, person: Person) -> Callable[[RawRecord], bool]:
    """Whether a record is the person's: by the field that names the customer, or by the key."""
    is_customer = source.entity == "customers"
    path = source.paths["email" if is_customer else REFERENCE_FIELDS[source.customer]]
    ids, emails = set(map(str, person.ids)), person.emails
    wanted: Collection[str] = emails
    if not is_customer and source.customer != "email":
        wanted = ids if source.customer == "id" else _keys(person, source.customer_source)
    own = _keys(person, source.name) | (ids if source.owns_ids else set())

    def is_of(record: RawRecord) -> bool:
        value = lookup(record, path)
        text = value.strip().lower() if wanted is emails and isinstance(value, str) else value
        if str(text).strip() in wanted:
            return True
        return bool(own and source.key) and str(lookup(record, source.key or "")).strip() in own

    return is_of


def _keys(person: Person, source: str | None) -> set[str]:
    return {key for name, key in person.keys if name == source}


def _identity(source: Source, record: RawRecord) -> Person:
    """What a record of a customer says about them."""
    email, first, last = (
        _text(lookup(record, source.paths[name])) for name in ("email", "first_name", "last_name")
    )
    key = _text(lookup(record, source.key)) if source.key else ""
    return Person(
        frozenset({email.lower()} if "@" in email else ()),
        frozenset({(first, last)} if first or last else ()),
        keys=frozenset({(source.name, key)} if key else ()),
    )


def _text(value: object) -> str:
    return str(value).strip() if type(value) in {str, int} else ""


def _tokens(person: Person) -> list[bytes] | None:
    """What a page must contain to have anything of the person; None if that cannot be said."""
    values = {
        *person.emails,
        *map(str, person.ids),
        *(key for _, key in person.keys),
        *(name for pair in person.names for name in pair if name),
    }
    # In another encoding, or with letters that have two cases, the bytes may be others.
    return [value.lower().encode() for value in values] if "".join(values).isascii() else None


def _has_any(stored: StoredPage, tokens: Sequence[bytes]) -> bool:
    content = stored.content.lower()
    # JSON may write any character as an escape.
    return b"\\u" in content or any(
        token in content or token.decode() in stored.origin.lower() for token in tokens
    )


def _masked(content: bytes, data: PersonalData, *, is_text: bool) -> bytes:
    text = data.mask_emails(content.decode(errors=_SURROGATES))
    if is_text:
        text = data.mask_full_names(text)
    return text.encode(errors=_SURROGATES)
