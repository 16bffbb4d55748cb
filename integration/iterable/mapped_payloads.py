"""The two JSON bodies for a row of any query, by the mapping of its columns. Pure.

`payloads` has the same for the documented columns, in their order, in less time.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson

from integration.core.exact_json import EXACT, dumps_exactly, loads_exactly
from integration.core.mapping import RECENT_VIEW
from integration.core.models import EVENT_NAME
from integration.iterable.payloads import Payloads, created_at, name_based_id, uuid5_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from integration.core.mapping import Mapping, Path


_PAGE_VIEW = orjson.dumps(EVENT_NAME)
# A value of a row as JSON, if no text has an escape and none is an object or an array.
_CELL = re.compile(rb'"[^"]*"|[^,\[\]"]+')
# What orjson returns takes 8 KB, however short it is; what is made of these takes its length.
_PROFILE = b'{"email":%b,"dataFields":%b}'
_MERGED_PROFILE = b'{"email":%b,"dataFields":%b,"mergeNestedObjects":true}'
_EVENT = b'{"email":%b,"eventName":%b,"id":"%b",%b"dataFields":%b}'


class MappedPayloads:
    """Makes the payloads of a query's rows.

    Args:
        mapping: of the query's columns.
    """

    def __init__(self, mapping: Mapping) -> None:
        self._email = mapping.email_place
        self._id = mapping.place("id")
        self._sends_events = mapping.sends_events
        self._name = mapping.place("event_name")
        self._event_id = mapping.place("event_id")
        self._time = mapping.place("event_time")
        self._page = mapping.columns.index("page") if "page" in mapping.columns else None
        self._profile_body = _MERGED_PROFILE if mapping.merges_objects else _PROFILE
        targets = list(enumerate(mapping.targets))
        self._size = len(targets)
        roles = {"email", "event_name", "event_time"}
        # Places that must have text for a row to be taken apart.
        self._texts = [place for place, one in targets if one.role in roles or place == self._page]
        self._profile_cells = _cell_reader(
            [(one.profile, place) for place, one in targets if one.profile],
            b'"recent_page_view":true' if self._page is not None else b"",
        )
        self._event_cells = _cell_reader(
            [(one.event, place) for place, one in targets if one.event], b""
        )
        self._profile = _reader([(one.profile, place) for place, one in targets if one.profile])
        self._event = _reader([(one.event, place) for place, one in targets if one.event])

    def __call__(self, row: bytes) -> Payloads:
        """The payloads of a row: a JSON array with the values of the query's columns."""
        # Without escapes, objects and inner arrays, a row is taken apart into the JSON of each
        # value, and put together again, which takes half the time of decoding and encoding.
        if b"\\" not in row and b"{" not in row and row.rfind(b"[") == 0:
            cells = _CELL.findall(row)
            if len(cells) == self._size and all(
                cells[place].startswith(b'"') for place in self._texts
            ):
                return self._of_cells(cells)
        return self._of_values(row)

    def _of_cells(self, cells: Sequence[bytes]) -> Payloads:
        address = cells[self._email]
        email = address[1:-1].decode()
        profile = self._profile_body % (address, self._profile_cells(cells))
        if not self._sends_events:
            return Payloads(email, profile, b"")
        fields = self._event_cells(cells)
        name = _PAGE_VIEW if self._name is None else cells[self._name]
        moment = None if self._time is None else cells[self._time][1:-1].decode()
        event = _EVENT % (
            address,
            name,
            self._identity_of_cells(cells, email, name, fields),
            b'"createdAt":%d,' % created_at(moment) if moment else b"",
            fields,
        )
        return Payloads(email, profile, event, name[1:-1].decode())

    def _identity_of_cells(
        self, cells: Sequence[bytes], email: str, name: bytes, fields: bytes
    ) -> bytes:
        """What `_identity` returns, as bytes."""
        if self._event_id is not None:
            return uuid5_of(b"event", name[1:-1], cells[self._event_id].strip(b'"'))
        known = email.lower().encode()
        customer = known if self._id is None else cells[self._id].strip(b'"')
        if self._page is None or self._time is None:
            return uuid5_of(b"content", customer, known, b"[%b,%b]" % (name, fields))
        more = () if self._name is None else (name[1:-1],)
        return uuid5_of(customer, known, cells[self._page][1:-1], cells[self._time][1:-1], *more)

    def _of_values(self, row: bytes) -> Payloads:
        is_exact = row.startswith(EXACT)
        values = loads_exactly(row) if is_exact else orjson.loads(row)
        dumps = dumps_exactly if is_exact else orjson.dumps
        email = values[self._email]
        address = orjson.dumps(email)
        fields = self._profile(values)
        if self._page is not None:
            fields[RECENT_VIEW[0]] = True
        profile = self._profile_body % (address, dumps(fields))
        if not self._sends_events:
            return Payloads(email or "", profile, b"")
        name = EVENT_NAME if self._name is None else values[self._name] or EVENT_NAME
        moment = None if self._time is None else values[self._time]
        event = _EVENT % (
            address,
            orjson.dumps(name),
            self._identity(values, name).encode(),
            b'"createdAt":%d,' % created_at(moment) if moment else b"",
            dumps(self._event(values)),
        )
        return Payloads(email or "", profile, event, name)

    def _identity(self, values: Sequence[Any], name: str) -> str:
        """The event's id: the same event always gets the same one.

        That of its `event_id`; else of customer, page and time, as for the documented columns; a
        query without page or time has the event's content instead.
        """
        if self._event_id is not None:
            return name_based_id("event", name, str(values[self._event_id]))
        email = str(values[self._email] or "").lower()
        customer = email if self._id is None else str(values[self._id])
        if self._page is None or self._time is None:
            content = dumps_exactly([name, self._event(values)]).decode()
            return name_based_id("content", customer, email, content)
        more = () if self._name is None else (name,)
        page, time = str(values[self._page]), str(values[self._time])
        return name_based_id(customer, email, page, time, *more)


def _cell_reader(
    paths: Sequence[tuple[Path, int]], constant: bytes
) -> Callable[[Sequence[bytes]], bytes]:
    """What `_reader` is for values, for JSON: a function that makes an object of these cells."""
    template, places = _template(paths, constant)
    return lambda cells: template % tuple([cells[place] for place in places])


def _template(paths: Iterable[tuple[Path, int]], constant: bytes) -> tuple[bytes, list[int]]:
    """The JSON of an object with a mark for each value, and the places of the values."""
    flat, within = _by_name(paths)
    members = [b"%b:%%b" % _escaped(name) for name, _ in flat]
    places = [place for _, place in flat]
    for name, inner in within.items():
        template, more = _template(inner, b"")
        members.append(b"%b:%b" % (_escaped(name), template))
        places += more
    return b"{%b}" % b",".join([*members, constant] if constant else members), places


def _escaped(name: str) -> bytes:
    return orjson.dumps(name).replace(b"%", b"%%")


def _by_name(
    paths: Iterable[tuple[Path, int]],
) -> tuple[list[tuple[str, int]], dict[str, list[tuple[Path, int]]]]:
    """The fields of an object, and the paths within its inner objects."""
    flat: list[tuple[str, int]] = []
    within: dict[str, list[tuple[Path, int]]] = {}
    for (name, *rest), place in paths:
        if rest:
            within.setdefault(name, []).append((tuple(rest), place))
        else:
            flat.append((name, place))
    return flat, within


def _reader(paths: Iterable[tuple[Path, int]]) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """A function that makes an object of the values at these places, nested by their paths."""
    flat, within = _by_name(paths)
    names, places = [name for name, _ in flat], [place for _, place in flat]
    nested = [(name, _reader(inner)) for name, inner in within.items()]
    if len(places) > 1 and not nested:
        chosen = itemgetter(*places)
        return lambda values: dict(zip(names, chosen(values), strict=False))

    def read(values: Sequence[Any]) -> dict[str, Any]:
        fields = dict(zip(names, [values[place] for place in places], strict=True))
        for name, inner in nested:
            fields[name] = inner(values)
        return fields

    return read
