"""What `sources.toml` may say about a source; `source_file` reads it.

A model checks its own keys. What one key means for another is in `rules`, which looks at the table
as it was written, so that mistakes of both kinds are reported together.
"""

from __future__ import annotations

import codecs
from functools import cached_property
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from integration.core.hosts import is_loopback
from integration.ingest.models import Entity  # noqa: TC001  pydantic reads it

CustomerReference = Literal["id", "key", "email"]
MAX_REQUESTS_PER_SECOND = 1000
MAX_PAGE_SIZE = 100_000
# A page view's field that names its customer, for each kind of reference.
REFERENCE_FIELDS: dict[CustomerReference, str] = {
    "id": "user_id",
    "key": "customer_key",
    "email": "email",
}
COLUMNS: dict[Entity, tuple[str, ...]] = {
    "customers": ("email", "first_name", "last_name", "plan_type", "candidate"),
    "page_views": ("page", "device", "browser", "location", "event_time"),
}
_SECRET_PARAMETERS = frozenset(
    {"access_token", "api_key", "apikey", "password", "secret", "token"},
)


def is_url(location: str) -> bool:
    """Whether a location is an address and not a file."""
    return "://" in location


def _checked_url(url: str) -> str:
    expected = "must be an address such as https://crm.example.com/api/customers"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        # Its own message may show a password.
        raise ValueError(expected) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError(expected)
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or password: use auth, which names a variable")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must be https; plain http is accepted for loopback only")
    if parts.fragment or any(not "!" <= character <= "~" for character in url):
        raise ValueError("must be printable ASCII without spaces or #")
    if any(name.lower() in _SECRET_PARAMETERS for name, _ in parse_qsl(parts.query)):
        raise ValueError("must not hold a secret: use auth, which names a variable")
    return url


def _checked_location(location: str) -> str:
    if is_url(location):
        return _checked_url(location)
    if not location.strip() or "\0" in location:
        raise ValueError("must be a file, a glob or an https address")
    return location


def _checked_path(path: str) -> str:
    if not all(part and part == part.strip() for part in path.split(".")):
        raise ValueError('must be a path such as "contact.email"')
    return path


def _checked_zone(name: str) -> str:
    # A system without time zones has UTC.
    if name != "UTC":
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError) as error:
            message = 'must be a time zone that this system has, such as "Europe/Berlin"'
            raise ValueError(message) from error
    return name


def _checked_encoding(name: str) -> str:
    """Accept an encoding in which lines and cells end with the same bytes as in ASCII."""
    try:
        if b'\n,"a'.decode(codecs.lookup(name).name) == '\n,"a':
            return name
    except (LookupError, UnicodeError):
        pass
    raise ValueError('must be an encoding such as "utf-8" or "cp1252"; not UTF-16 or UTF-32')


def _checked_quote(quote: str) -> str:
    if len(quote) > 1 or quote in {"\0", "\r", "\n"}:
        raise ValueError('must be one character, or "" for none')
    return quote


def _checked_delimiter(delimiter: str) -> str:
    if len(delimiter) != 1 or delimiter in {"\0", "\r", "\n"}:
        raise ValueError('must be one character such as "," or "\\t"')
    return delimiter


def _as_tuple(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Path = Annotated[str, AfterValidator(_checked_path)]
Url = Annotated[str, AfterValidator(_checked_url)]
Locations = Annotated[
    tuple[Annotated[str, AfterValidator(_checked_location)], ...],
    BeforeValidator(_as_tuple),
    Field(min_length=1),
]
# A name of RFC 9110, section 5.6.2.
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
# Upper case, so that a secret that was put here is rejected instead of shown as a missing variable.
Variable = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]{0,99}$")]
Prefix = Annotated[str, Field(pattern=r"^([A-Za-z][A-Za-z -]{0,19}[ =:]{0,2})?$")]
Parameter = Annotated[str, Field(pattern=r"^[^\x00-\x20&=#]{1,100}$")]


class _Table(BaseModel):
    """A table of the file; the values are of the types that TOML gives them."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class Auth(_Table):
    """The header that carries a secret; the secret itself is in an environment variable."""

    header: HeaderName = "Authorization"
    prefix: Prefix = ""
    variable: Variable


class PageSize(_Table):
    """The query parameter that asks for a number of records."""

    parameter: Parameter
    value: Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)]


class Cursor(_Table):
    """How a source is asked for what has changed since the last run.

    Attributes:
        field: the path of the time or number by which records are ordered in change.
        parameter: the query parameter that takes the lowest one.
        overlap_seconds: how far before the checkpoint a run starts.
    """

    field: Path
    parameter: Parameter
    overlap_seconds: Annotated[int, Field(ge=0, le=31 * 86400)] = 300


class NoPagination(_Table):
    """All records are in one answer."""

    kind: Literal["none"] = "none"


class PagePagination(_Table):
    """Pages are numbered; an empty page, or one that is not full, is the last."""

    kind: Literal["page"]
    parameter: Parameter = "page"
    first: Annotated[int, Field(ge=0, le=1)] = 1


class OffsetPagination(_Table):
    """A parameter says how many records to skip."""

    kind: Literal["offset"]
    parameter: Parameter = "offset"


class CursorPagination(_Table):
    """The answer has a token for the next page, at the path `next`."""

    kind: Literal["cursor"]
    parameter: Parameter
    next: Path


class LinkPagination(_Table):
    """The header `Link` has the next page's address (RFC 8288, rel="next")."""

    kind: Literal["link"]


class NextUrlPagination(_Table):
    """The answer has the next page's address, at the path `next`."""

    kind: Literal["next_url"]
    next: Path


Pagination = Annotated[
    NoPagination
    | PagePagination
    | OffsetPagination
    | CursorPagination
    | LinkPagination
    | NextUrlPagination,
    Field(discriminator="kind"),
]


class BaseSource(_Table):
    """What every kind of source has.

    Attributes:
        key: the path of the source's own key of a record.
        owns_ids: its keys become `customers.id`.
        customer: how a page view names its customer.
        customer_source: with `customer = "key"`, the source whose key it is.
        timezone: of times without a zone.
        drift: what a new field does; the key `schema`.
        fields: the path of each of our fields that is not at its own name.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
    entity: Entity
    key: Path | None = None
    owns_ids: bool = False
    customer: CustomerReference = "id"
    customer_source: str | None = None
    expected_every_hours: Annotated[float, Field(gt=0, le=10_000)] = 24
    max_rejected_percent: Annotated[float, Field(ge=0, le=100)] = 10
    delete_missing: bool = False
    timezone: Annotated[str, AfterValidator(_checked_zone)] = "UTC"
    drift: Annotated[Literal["evolve", "freeze"], Field(alias="schema")] = "evolve"
    fields: dict[str, Path] = {}

    @property
    def limits_every_page(self) -> bool:
        """Whether `max_rejected_percent` holds for pages of a few records: if it is set."""
        return "max_rejected_percent" in self.model_fields_set

    @cached_property
    def paths(self) -> dict[str, str]:
        """The path of each of our fields in a record; without the key."""
        columns = COLUMNS[self.entity]
        if self.entity == "page_views":
            columns = (REFERENCE_FIELDS[self.customer], *columns)
        return {column: self.fields.get(column, column) for column in columns}


class HttpSource(BaseSource):
    """An HTTP API that answers with JSON."""

    kind: Literal["http"]
    url: Url
    auth: Auth | None = None
    records: Annotated[str, AfterValidator(lambda path: path and _checked_path(path))] = ""
    pagination: Pagination = NoPagination()
    page_size: PageSize | None = None
    cursor: Cursor | None = None
    sorted: bool = False
    requests_per_second: Annotated[float, Field(gt=0, le=MAX_REQUESTS_PER_SECOND)] = 10


class CsvSource(BaseSource):
    """Files with a header and separated cells."""

    kind: Literal["csv"]
    path: Locations
    delimiter: Annotated[str, AfterValidator(_checked_delimiter)] = ","
    encoding: Annotated[str, AfterValidator(_checked_encoding)] = "utf-8-sig"
    quote: Annotated[str, AfterValidator(_checked_quote)] = '"'


class JsonlSource(BaseSource):
    """Files with a JSON object in each line, in UTF-8."""

    kind: Literal["jsonl"]
    path: Locations


Source = HttpSource | CsvSource | JsonlSource
KINDS: dict[str, type[HttpSource | CsvSource | JsonlSource]] = {
    "http": HttpSource,
    "csv": CsvSource,
    "jsonl": JsonlSource,
}
