"""The two JSON bodies for a row of any query, by the mapping of its columns. Pure.

`payloads` has the same for the documented columns, in their order, in less time.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson

from integration.core.exact_json import EXACT, dumps_exactly, loads_exactly
from integration.core.mapping import RECENT_VIEW
from integration.core.models import EVENT_NAME
from integration.iterable.payloads import Payloads, created_at, name_based_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from integration.core.mapping import Mapping, Path


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
        self._profile = _reader([(one.profile, place) for place, one in targets if one.profile])
        self._event = _reader([(one.event, place) for place, one in targets if one.event])

    def __call__(self, row: bytes) -> Payloads:
        """The payloads of a row: a JSON array with the values of the query's columns."""
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


def _reader(paths: Iterable[tuple[Path, int]]) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """A function that makes an object of the values at these places, nested by their paths."""
    flat: list[tuple[str, int]] = []
    within: dict[str, list[tuple[Path, int]]] = {}
    for (name, *rest), place in paths:
        if rest:
            within.setdefault(name, []).append((tuple(rest), place))
        else:
            flat.append((name, place))
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
