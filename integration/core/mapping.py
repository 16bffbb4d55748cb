"""What the columns of a query are sent as: the query's column names are the mapping. Pure.

MappingError    exit 78: a column has no place, or two have the same; one line that names it
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.core.models import CALLS, PageView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from integration.core.models import Call

Path = tuple[str, ...]
Role = Literal[
    "id", "email", "event_name", "event_id", "event_time", "send_profile", "field", "json"
]
DOCUMENTED = PageView._fields
RECENT_VIEW: Path = ("recent_page_view",)
TIMESTAMP: Path = ("timestamp",)
_JSON = ":json"
_PROFILE, _EVENT = "profile.", "event."
_ROLES: dict[str, Role] = {
    "id": "id",
    "email": "email",
    "event_time": "event_time",
    "event_name": "event_name",
    "event_id": "event_id",
    "send_profile": "send_profile",
}
_PROFILE_FIELDS = ("first_name", "last_name", "plan_type", "candidate")
_EVENT_FIELDS = ("page", "device", "browser", "location", "candidate")
_KNOWN = (*DOCUMENTED, "event_name", "event_id", "send_profile")
# A query with one of these, or with event.NAME, has events.
_EVENT_COLUMNS = frozenset({"page", "event_time", "event_name"})
_ONLY_FOR_EVENTS = ("device", "browser", "location", "event_id", "send_profile")
# Iterable writes these itself.
_RESERVED = frozenset(
    {
        *("email", "userId", "itblUserId", "signupDate", "signupSource", "profileUpdatedAt"),
        *("itblInternal", "emailListIds", "devices", "browserTokens", "subscribedMessageTypeIds"),
        *("unsubscribedChannelIds", "unsubscribedMessageTypeIds"),
    }
)


class MappingError(AppError):
    """The query's columns or their types cannot be sent; the message says what to change."""

    exit_code = ExitCode.CONFIGURATION


class Target(NamedTuple):
    """Where a column goes.

    Attributes:
        column: its name in the query.
        role: what it is beside a field; "field" and "json" are nothing else, and "json" has text
            that is decoded.
        profile: its path in the `dataFields` of users/update, or None.
        event: its path in the `dataFields` of events/track, or None.
    """

    column: str
    role: Role = "field"
    profile: Path | None = None
    event: Path | None = None


@dataclass(frozen=True)
class Mapping:
    """The columns of a query, in its order, and where each goes.

    Attributes:
        columns: their names, which are the CSV's header.
        targets: one for each.
    """

    columns: tuple[str, ...]
    targets: tuple[Target, ...]

    @classmethod
    def of(cls, columns: Sequence[str]) -> Mapping:
        """The mapping that these names say.

        Raises:
            MappingError: it cannot be used.
        """
        if problem := problem_of(columns):
            raise MappingError(problem)
        targets = map(_target, columns)
        return cls(tuple(columns), tuple(target for target in targets if target))

    @cached_property
    def is_documented(self) -> bool:
        """Whether these are the columns of Query 2, in its order."""
        return self.columns == DOCUMENTED

    @cached_property
    def sends_events(self) -> bool:
        """Whether a row is an event, too."""
        return _has_events(self.columns)

    def place(self, role: Role) -> int | None:
        """The index of the column with this role."""
        roles = [target.role for target in self.targets]
        return roles.index(role) if role in roles else None

    @cached_property
    def email_place(self) -> int:
        """The index of the email."""
        return self.columns.index("email")

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """The calls of a row, unless the row itself says otherwise."""
        return CALLS if self.sends_events else CALLS[:1]

    @cached_property
    def merges_objects(self) -> bool:
        """Whether a profile field is within an object, whose other fields are to stay."""
        return any(target.profile and len(target.profile) > 1 for target in self.targets)


def person_in(columns: Sequence[str], row: Sequence[object]) -> dict[str, object]:
    """The person that a row of these columns is about: `id`, `email`, `first_name` and `last_name`.

    Each is None if the query does not have it.
    """
    values = dict(zip(columns, row, strict=False))
    return {
        name: next((values[one] for one in _spellings(name) if one in values), None)
        for name in ("id", "email", "first_name", "last_name")
    }


def _spellings(name: str) -> tuple[str, ...]:
    first, *others = name.split("_")
    camel = first + "".join(map(str.title, others))
    return name, f"{_PROFILE}{name}", f"{_PROFILE}{camel}"


def problem_of(columns: Sequence[str]) -> str | None:
    """Why these columns cannot be sent, in one line, or None."""
    return next(_problems(columns), None)


def _problems(columns: Sequence[str]) -> Iterator[str]:
    for name, count in Counter(columns).items():
        if count > 1:
            yield f"The query returns the column {name} {count} times: {_RENAME}"
    yield from filter(None, map(_name_problem, columns))
    if "email" not in columns:
        yield "The query returns no column email, which names the user: add it, or rename one (AS)"
    yield from _conflicts(columns)
    if not _has_events(columns):
        unused = [name for name in columns if name in _ONLY_FOR_EVENTS]
        if unused:
            yield (
                f"The query's column {unused[0]} belongs to an event, and the query has none: add"
                " page, event_time, event_name or an event.NAME column, or remove it"
            )


_RENAME = "give each a different name (AS)"


def _name_problem(name: str) -> str | None:
    if _target(name) is not None:
        return _field_problem(name)
    if name.startswith((_PROFILE, _EVENT)):
        return f"The query's column {name} has an empty part in its name: {_both_ways('NAME')}"
    from difflib import get_close_matches  # noqa: PLC0415  only an error needs it

    similar = get_close_matches(name.lower(), _KNOWN, n=1)
    hint = f" (or did you mean {similar[0]}?)" if similar else ""
    return f"The query's column {name} has no place in what is sent: {_both_ways(name)}{hint}"


def _both_ways(name: str) -> str:
    return f"name it profile.{name} for a profile field or event.{name} for a field of the event"


def _field_problem(name: str) -> str | None:
    target = _target(name)
    if target and target.profile and name.startswith(_PROFILE) and target.profile[0] in _RESERVED:
        return (
            f"The query's column {name} is a field that Iterable writes itself:"
            " give it another name, or remove it"
        )
    return None


def _conflicts(columns: Sequence[str]) -> Iterator[str]:
    """Two columns for the same field, or one for a field and one for a part of it."""
    targets = [target for target in map(_target, columns) if target]
    constants = [Target("page", profile=RECENT_VIEW)] if "page" in columns else []
    for paths in (
        [(target.profile, target.column) for target in [*targets, *constants] if target.profile],
        [(target.event, target.column) for target in targets if target.event],
    ):
        for one, other in _overlapping(paths):
            yield f"The query's columns {one} and {other} are sent as the same field: {_RENAME}"


def _overlapping(paths: Iterable[tuple[Path, str]]) -> Iterator[tuple[str, str]]:
    before: tuple[Path, str] | None = None
    for path, column in sorted(paths):
        if before and path[: len(before[0])] == before[0]:
            yield before[1], column
        else:
            before = path, column


def _has_events(columns: Iterable[str]) -> bool:
    return any(name in _EVENT_COLUMNS or name.startswith(_EVENT) for name in columns)


def _target(name: str) -> Target | None:
    """Where a column with this name goes, or None."""
    if name in _KNOWN:
        return Target(
            name,
            _ROLES.get(name, "field"),
            (name,) if name in _PROFILE_FIELDS else None,
            TIMESTAMP if name == "event_time" else (name,) if name in _EVENT_FIELDS else None,
        )
    prefix, _, rest = name.partition(".")
    path = tuple(rest.removesuffix(_JSON).split("."))
    if not rest or not all(path) or any(part != part.strip() for part in path):
        return None
    role: Role = "json" if rest.endswith(_JSON) else "field"
    if prefix == "profile":
        return Target(name, role, profile=path)
    return Target(name, role, event=path) if prefix == "event" else None
