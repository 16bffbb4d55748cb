"""The kind http: pages of JSON from an API, in any style of pagination."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from integration.ingest.errors import OptionRefused, SourceError
from integration.ingest.kinds.high_water import peak_of
from integration.ingest.kinds.http_addresses import path_and_query
from integration.ingest.kinds.http_client import StatusError, StoppedReading
from integration.ingest.kinds.http_hints import first_page_hints
from integration.ingest.kinds.http_page import (
    PartRead,
    content_with,
    digest_of,
    items_of,
    narrowed,
    record_of,
)
from integration.ingest.kinds.http_position import start
from integration.ingest.kinds.json_text import loads
from integration.ingest.kinds.pagination import PageError, next_place, target_of, value_at
from integration.ingest.models import RawPage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from integration.ingest.kinds.high_water import Mark
    from integration.ingest.kinds.http_client import Answer, SourceClient
    from integration.ingest.kinds.http_position import HttpPosition
    from integration.ingest.kinds.pagination import Place
    from integration.ingest.models import RawRecord, Window
    from integration.ingest.sources import HttpSource

logger = logging.getLogger(__name__)

# How a source says that it no longer knows the token of a page.
_UNKNOWN_PLACE = frozenset({400, 404, 410, 416, 422})


class _Reading:
    """A run that is under way.

    Attributes:
        state: its position.
        place: the page to request.
        part: what an earlier run has read of it.
        remaining: how many records may still be read; None: all.
        previous: what the last page had.
        last: the digest of the last page, also of an earlier run.
    """

    def __init__(self, state: HttpPosition, remaining: int | None) -> None:
        self.remaining = remaining
        self.previous: list[object] = []
        self.begin(state)

    def begin(self, state: HttpPosition) -> None:
        """Start at the place of a position."""
        self.state = state
        self.place = state.place
        self.part = state.part
        self.last = state.last
        self._places = {_key(state.place)}

    def knows(self, place: Place) -> bool:
        """Whether this place was requested before."""
        return _key(place) in self._places

    def repeats(self, items: list[object]) -> bool:
        """Whether a page is the same as the one before it."""
        if self.previous or not items or self.last is None:
            return bool(items) and items == self.previous
        return digest_of(items) == self.last

    def move(
        self, state: HttpPosition, items: list[object], following: Place | None, size: int
    ) -> bool:
        """Go on to the next place, after a page of `size` records; True if there is none."""
        self.state = state
        self.previous = items
        if self.remaining is not None:
            self.remaining -= size
        if following is None or self.remaining == 0:
            return True
        self.place, self.part = following, None
        self._places.add(_key(following))
        return False


class HttpReader:
    """Reads an HTTP source; see `models.Reader`.

    Args:
        source: what to read.
        client: sends the requests.
    """

    def __init__(self, source: HttpSource, client: SourceClient) -> None:
        self._source = source
        self._client = client
        self._target = path_and_query(source.url)

    def pages(self, position: dict[str, object] | None, window: Window) -> Iterator[RawPage]:
        """Read page by page, from where the last run stopped."""
        if self._source.cursor is None and (window.since or window.until):
            raise OptionRefused(
                f"{self._source.name}: --since and --until need a cursor in its configuration"
            )
        try:
            yield from self._pages(position, window)
        except StoppedReading:
            return
        finally:
            self._client.cancel()

    def records_of(self, content: bytes, origin: str) -> Sequence[RawRecord]:
        """The records of a stored answer."""
        return [record_of(item) for item in self._decoded(content, origin)[1]]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _pages(self, position: dict[str, object] | None, window: Window) -> Iterator[RawPage]:
        reading = _Reading(start(self._source, position, window), window.limit)
        for number in count(1):
            answer = self._fetch(reading, position, window)
            page = self._page(number, answer, reading, window.until)
            if position is None and number == 1:
                page = replace(page, warnings=self._hints(answer))
            yield page
            if page.is_last:
                return

    def _page(
        self, number: int, answer: Answer, reading: _Reading, until: datetime | None
    ) -> RawPage:
        """The page of an answer; then `reading` is at the next place."""
        origin = self._client.address(answer.target)
        decoded, items = self._decoded(answer.body, origin)
        following, error = self._following(reading, decoded, answer, len(items))
        if reading.repeats(items):
            # Where it continues cannot be trusted: pages may have been left out.
            following, error = None, self._loop_error(answer, "sent the same page again")
        if following is not None and reading.remaining is None:
            # The source prepares the next page while this one is looked at.
            self._client.begin(self._target_of(following, reading.state.floor))
        key = self._source.key
        unread = items if reading.part is None else reading.part.unread(items, key)
        kept, taken = narrowed(unread, self._source.cursor, until, reading.remaining)
        state = reading.state.after_page(self._peak(kept), is_sorted=self._source.sorted)
        part, last = None, reading.last
        if taken < len(unread):
            following, error = reading.place, None
            part = PartRead.of(items[: len(items) - len(unread) + taken], key)
        else:
            last = reading.last = digest_of(items) if following else None
        ended = state.ended(complete=error is None)
        is_last = reading.move(state, items, following, len(kept))
        return RawPage(
            number=number,
            # As it was sent, unless an option leaves some of its records out.
            content=(
                answer.body if len(kept) == len(items) else content_with(self._source.records, kept)
            ),
            origin=origin,
            records=[record_of(item) for item in kept],
            position=ended if following is None else state.under_way(following, last, part),
            is_last=is_last,
            retries=answer.retries,
            seconds_waited=answer.seconds_waited,
            error=error,
        )

    def _hints(self, answer: Answer) -> list[str]:
        """What looks wrong in the first answer of a source."""
        decoded, items = self._decoded(answer.body, self._client.address(answer.target))
        return first_page_hints(self._source, decoded, answer.headers, items)

    def _following(
        self, reading: _Reading, decoded: object, answer: Answer, size: int
    ) -> tuple[Place | None, SourceError | None]:
        """The next place, or None and the reason why it cannot be requested, if there is one."""
        pagination = self._source.pagination
        try:
            following = next_place(pagination, reading.place, decoded, answer.headers, size)
            if following is not None and "url" in following:
                target = self._client.target_of(str(following["url"]), answer.target)
                following = {"url": target}
        except PageError as error:
            return None, SourceError(f"{self._source.name}: {error}")
        except SourceError as error:
            return None, error
        if following is not None and reading.knows(following):
            return None, self._loop_error(answer, "names a next page that was read before")
        if following is not None and self._client.contains_secret(_key(following)):
            return None, self._loop_error(answer, "names a next page whose address has the secret")
        return following, None

    def _loop_error(self, answer: Answer, what: str) -> SourceError:
        address = self._client.address(answer.target)
        return SourceError(f"{self._source.name}: {address} {what}: check the pagination")

    def _fetch(
        self, reading: _Reading, position: dict[str, object] | None, window: Window
    ) -> Answer:
        """The answer for the place; if the source no longer knows it, for the beginning."""
        try:
            return self._client.get(self._page_target(reading))
        except StatusError as error:
            is_first = not reading.previous and reading.state.resumed
            if not is_first or error.status not in _UNKNOWN_PLACE:
                raise
            logger.warning("%s. Starting at the first page instead", error)
        reading.begin(start(self._source, position, window, from_start=True))
        return self._client.get(self._page_target(reading))

    def _page_target(self, reading: _Reading) -> str:
        return self._target_of(reading.place, reading.state.floor)

    def _target_of(self, place: Place, floor: Mark | None) -> str:
        source = self._source
        parameters: dict[str, str] = {}
        if source.page_size is not None:
            parameters[source.page_size.parameter] = str(source.page_size.value)
        if source.cursor is not None and floor is not None:
            parameters[source.cursor.parameter] = floor.text()
        return target_of(source.pagination, place, self._target, parameters)

    def _peak(self, items: Sequence[object]) -> Mark | None:
        cursor = self._source.cursor
        return None if cursor is None else peak_of([value_at(item, cursor.field) for item in items])

    def _decoded(self, content: bytes, origin: str) -> tuple[object, list[object]]:
        """The JSON of an answer, and the list of its records."""
        try:
            decoded = loads(content)
            return decoded, items_of(decoded, self._source.records)
        except PageError as error:
            raise SourceError(f"{self._source.name}: {origin} {error}") from None
        except ValueError as error:
            kind = "an HTML page" if content.lstrip()[:1] == b"<" else str(error)
            raise SourceError(
                f"{self._source.name}: {origin} did not answer with JSON ({kind})"
            ) from None


def _key(place: Place) -> str:
    return json.dumps(place)
