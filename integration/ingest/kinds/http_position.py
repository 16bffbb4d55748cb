"""Where the reading of an HTTP source stands: the mark, and the run that is under way. Pure.

The mark is how far the source was read completely. It moves when a run has read its last page, or
with each page if the source sorts its records by the cursor. It never exceeds the start of the run
that read the first page: what changed after that may have been on a page that was read before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict, TypeGuard

from integration.core.clock import to_iso
from integration.ingest.kinds.high_water import Mark, from_json, highest, microseconds, to_time
from integration.ingest.kinds.http_page import PartRead, part_from_json
from integration.ingest.kinds.pagination import first_place, is_place

if TYPE_CHECKING:
    from integration.ingest.kinds.pagination import Place
    from integration.ingest.models import Window
    from integration.ingest.sources import HttpSource


class _Run(TypedDict):
    """A run that is under way, in a checkpoint."""

    place: Place
    page_size: int | None
    last: str | None
    part: object
    floor: object
    peak: object
    started_at: int
    options: list[object]
    moves_mark: bool


@dataclass(frozen=True, slots=True)
class HttpPosition:
    """The position of a run.

    Attributes:
        mark: how far the source was read by complete runs.
        place: the page to request.
        floor: the lowest cursor to ask for; None: all.
        peak: the highest cursor that the run has seen.
        started_at: the start of the run that read the first page, in microseconds since 1970.
        options: what the operator wanted; a run with other options does not continue this one.
        moves_mark: whether everything between the mark and the floor was read before.
        resumed: whether this run continues another one.
        part: what was read of the page at `place`.
        page_size: what numbers of pages mean; None if the source gives tokens or addresses.
        last: the digest of the page before `place`.
    """

    mark: Mark | None
    place: Place
    floor: Mark | None
    peak: Mark | None
    started_at: int
    options: list[object]
    moves_mark: bool
    resumed: bool = False
    part: PartRead | None = None
    page_size: int | None = None
    last: str | None = None

    def after_page(self, peak: Mark | None, *, is_sorted: bool) -> HttpPosition:
        """The position after a page whose highest cursor is `peak`, still at its place."""
        position = replace(self, peak=highest(self.peak, peak))
        return replace(position, mark=position.reached()) if is_sorted else position

    def reached(self) -> Mark | None:
        """The mark if the run were complete."""
        if self.peak is None or not self.moves_mark:
            return self.mark
        reached = self.peak.clamped(to_time(self.started_at))
        if self.mark is not None and self.mark.form != reached.form:
            return reached
        return highest(self.mark, reached)

    def under_way(
        self, place: Place, last: str | None = None, part: PartRead | None = None
    ) -> dict[str, object]:
        """The checkpoint of a run that continues at `place`, after a part of that page.

        `last`: the digest of the page before it.
        """
        run: _Run = {
            "place": place,
            "page_size": self.page_size,
            "last": last,
            "part": None if part is None else list(part),
            "floor": _json(self.floor),
            "peak": _json(self.peak),
            "started_at": self.started_at,
            "options": self.options,
            "moves_mark": self.moves_mark,
        }
        return {"mark": _json(self.mark), "run": run}

    def ended(self, *, complete: bool) -> dict[str, object]:
        """The checkpoint of a run that is over."""
        return {"mark": _json(self.reached() if complete else self.mark), "run": None}


def start(
    source: HttpSource,
    position: dict[str, object] | None,
    window: Window,
    *,
    from_start: bool = False,
) -> HttpPosition:
    """The position at which a run starts.

    It continues a run that did not reach its end, unless the options differ, everything is to be
    read, or `from_start` is set.
    """
    checkpoint = position or {}
    mark = from_json(checkpoint.get("mark"))
    options: list[object] = [
        None if moment is None else to_iso(moment) for moment in (window.since, window.until)
    ]
    run = checkpoint.get("run")
    if not (from_start or window.full_refresh) and _can_continue(run, source, options):
        return HttpPosition(
            mark=mark,
            place=run["place"],
            part=part_from_json(run["part"]),
            floor=from_json(run["floor"]),
            peak=from_json(run["peak"]),
            started_at=run["started_at"],
            options=options,
            moves_mark=run["moves_mark"],
            resumed=True,
            page_size=run["page_size"],
            last=run["last"],
        )
    # A full refresh that was stopped is not continued: what it did not see would count as missing.
    options = ["full refresh"] if window.full_refresh else options
    since = _since(window, mark)
    return HttpPosition(
        mark=mark,
        place=first_place(source.pagination),
        floor=_floor(source, mark, since, window),
        peak=None,
        started_at=microseconds(window.started_at),
        options=options,
        moves_mark=mark is None or since is None or since.value <= mark.value,
        page_size=_numbered_size(source),
    )


def _can_continue(run: object, source: HttpSource, options: list[object]) -> TypeGuard[_Run]:
    """Whether this, from a checkpoint, is a run with the same options and style of pagination.

    With another size, a page with the same number has other records.
    """
    return (
        isinstance(run, dict)
        and run.keys() == _Run.__annotations__.keys()
        and run["options"] == options
        and run["page_size"] == _numbered_size(source)
        and isinstance(run["last"], str | None)
        and isinstance(run["started_at"], int)
        and isinstance(run["moves_mark"], bool)
        and is_place(source.pagination, run["place"])
    )


def _numbered_size(source: HttpSource) -> int | None:
    if source.page_size is None or source.pagination.kind not in {"page", "offset"}:
        return None
    return source.page_size.value


def _since(window: Window, mark: Mark | None) -> Mark | None:
    """--since in the form of the source's cursor, as far as that is known."""
    if window.since is None:
        return None
    form = "iso" if mark is None or mark.form == "number" else mark.form
    return Mark(form, microseconds(window.since))


def _floor(
    source: HttpSource, mark: Mark | None, since: Mark | None, window: Window
) -> Mark | None:
    if source.cursor is None:
        return None
    if since is not None:
        return since
    if mark is None or window.full_refresh:
        return None
    return mark.lowered(source.cursor.overlap_seconds)


def _json(mark: Mark | None) -> list[object] | None:
    return None if mark is None else mark.as_json()
