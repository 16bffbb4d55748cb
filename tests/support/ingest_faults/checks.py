"""What must hold after each run, however it ended: one line for each violation."""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.support.ingest_faults.model import EMAIL, Model
from tests.support.ingest_faults.records import decoded, stored_as

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sandbox.source.records import Entity
    from tests.support.ingest_faults.evidence import Evidence, Page
    from tests.support.ingest_faults.records import Row, Shape

MAX_SHOWN = 3
_COUNTS = ("pages", "records", "inserted", "updated", "unchanged", "rejected")


def violations(
    found: Evidence,
    *,
    entity: Entity,
    shape: Shape,
    style: str,
    customers: int,
    contents: Sequence[tuple[str, bytes]],
    was_killed: bool,
) -> list[str]:
    """What must never be so.

    Args:
        found: the database.
        entity: of the source.
        shape: how its records are written.
        style: of its pagination; empty for files.
        customers: how many there are for page views.
        contents: what the source has, if the run can be compared with it.
        was_killed: whether the last run was.
    """
    model = Model(entity, customers)
    return [
        *_wrong_accounts(found, model, shape),
        *_wrong_rows(found.rows, model.rows),
        *([f"rows: {found.unlinked} without exactly one key"] if found.unlinked else []),
        *_wrong_ends(found, was_killed=was_killed),
        *_wrong_version(found),
        *(_wrong_places(found, style) if style else ()),
        *_behind_checkpoint(found, entity, shape, contents),
    ]


def _wrong_accounts(found: Evidence, model: Model, shape: Shape) -> Iterator[str]:
    """Each run's counts and rejections are those of its raw pages, stored one after the other."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    pointers = {(one.run_id, one.page, one.position): one for one in found.rejected}
    for page in found.pages:
        where = f"page {page.number} of run {page.run_id}"
        records = decoded(shape, page.content)
        if not page.is_intact or len(records) != page.records:
            yield f"raw: {where} has {len(records)} of {page.records} records"
        outcome = model.store(records)
        counts[page.run_id].update(pages=1, records=len(records), rejected=len(outcome.rejected))
        counts[page.run_id].update(outcome._asdict() | {"rejected": 0})
        for position in outcome.rejected:
            one = pointers.pop((page.run_id, page.number, position), None)
            if one is None:
                yield f"rejected: record {position} of {where} is not stored"
            elif one.source_key not in {None, _key(records[position])}:
                yield f"rejected: record {position} of {where} is not {one.source_key}"
    yield from (f"rejected: {one} points at no bad record" for one in pointers.values())
    for run in found.runs:
        if {name: getattr(run, name) for name in _COUNTS} != {
            name: counts[run.run_id][name] for name in _COUNTS
        }:
            yield f"counts: {run}, but its pages have {dict(counts[run.run_id])}"
        if run.records != run.inserted + run.updated + run.unchanged + run.rejected:
            yield f"counts: {run} do not add up"


def _key(record: object) -> str | None:
    return str(record.get("id")) if isinstance(record, dict) else None


def _wrong_rows(rows: dict[str, Row], wanted: dict[str, Row]) -> Iterator[str]:
    """The rows are those of the raw pages: no more, no less, no other values."""
    for key in list(wanted.keys() - rows.keys())[:MAX_SHOWN]:
        yield f"lost: {key} was read and is not stored"
    for key in list(rows.keys() - wanted.keys())[:MAX_SHOWN]:
        yield f"stray: {key} is stored and was not read"
    other = [key for key in rows.keys() & wanted.keys() if rows[key] != wanted[key]]
    yield from (f"row: {key} is {rows[key]}, expected {wanted[key]}" for key in other[:MAX_SHOWN])


def _wrong_ends(found: Evidence, *, was_killed: bool) -> Iterator[str]:
    last = max((run.run_id for run in found.runs), default=0)
    for run in found.runs:
        if run.status == "running" and (run.run_id < last or not was_killed):
            yield f"running: {run}"


def _wrong_version(found: Evidence) -> Iterator[str]:
    version = found.checkpoint[1] if found.checkpoint else 0
    if version != len(found.pages):
        yield f"checkpoint: version {version} after {len(found.pages)} pages"


def _wrong_places(found: Evidence, style: str) -> Iterator[str]:
    """Each page follows the one before it, and the checkpoint follows the last one."""
    failed = {run.run_id for run in found.runs if run.error_code == "SourceError"}
    for page, following in pairwise(found.pages):
        place, asked = _next_place(page, style), _own_place(following, style)
        is_start = asked == _FIRST.get(style)
        if asked != place and not is_start and not _is_invented(asked):
            yield f"place: {asked} of run {following.run_id} follows {page.origin}, {place}"
        # The last page of the style link names no next one, outside of its content.
        elif (
            is_start
            and place not in {None, asked}
            and style != "link"
            and page.run_id not in failed
        ):
            yield f"place: run {following.run_id} starts again after {page.origin}"
    if not found.pages or found.checkpoint is None:
        return
    last, run = found.pages[-1], found.checkpoint[0].get("run")
    if run is None:
        return
    place = _place_text(run["place"], style)
    if place != _next_place(last, style) and not _is_invented(place):
        yield f"place: the checkpoint has {run['place']} after {last.origin}"


def _is_invented(token: str | None) -> bool:
    """Whether this is a token of an endless source, which the style `link` has in a header."""
    try:
        return b" -" in base64.urlsafe_b64decode(f"{token}==")
    except ValueError:
        return False


_FIRST = {"page": "1", "offset": "0"}


def _own_place(page: Page, style: str) -> str | None:
    return _place_of_url(page.origin, style)


def _place_of_url(url: str, style: str) -> str | None:
    parameters = parse_qs(urlsplit(url).query)
    name = style if style in _FIRST else "cursor"
    return parameters[name][0] if name in parameters else None


def _place_text(place: dict[str, Any], style: str) -> str | None:
    if "url" in place:
        return _place_of_url(place["url"], style)
    return str(next(iter(place.values()))) if place else None


def _next_place(page: Page, style: str) -> str | None:
    """Where the source continues after a page, as its content says; None at its end."""
    answer = json.loads(page.content)
    if style in _FIRST:
        step = 1 if style == "page" else page.records
        return str(int(_own_place(page, style) or 0) + step) if page.records else None
    if style == "cursor":
        token: str | None = answer["paging"]["next"]
        return token
    if style == "next_url":
        return _place_of_url(answer["next"], style) if answer["next"] else None
    if style == "none":
        return None
    return _token_after(answer[-1]) if answer else None


def _token_after(record: object) -> str:
    """The token of the mock source: time and number of the last record."""
    if not isinstance(record, dict) or type(record.get("id")) not in {int, str}:
        return "unknown"
    key = str(record["id"]).removeprefix("v")
    if not key.isdecimal() or int(key) > 10_000:
        return "unknown"
    moment = datetime.fromisoformat(record["updated_at"])
    text = f"{moment.isoformat()} {int(key) - 1}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _behind_checkpoint(
    found: Evidence, entity: Entity, shape: Shape, contents: Sequence[tuple[str, bytes]]
) -> Iterator[str]:
    """Nothing that the checkpoint says was read is missing."""
    position = found.checkpoint[0] if found.checkpoint else {}
    missing = []
    for name, content in contents:
        read = content
        if shape != "json":
            where = position.get("files", {}).get(name)
            if where is None or not _is_same(where, name, content):
                continue
            read = content if where["done"] else content[: where["offset"]]
        for record in decoded(shape, read):
            stored = stored_as(entity, record, 10**6)
            if stored is None or (shape == "json" and not _is_behind(dict(record), position)):
                continue
            if found.rows.get(stored.key) != stored.row and not may_collide(stored.row):
                missing.append(stored.key)
    if missing:
        yield f"behind the checkpoint: {len(missing)} missing, such as {missing[:MAX_SHOWN]}"


def may_collide(row: Row) -> bool:
    """Whether this is one of the mock source's customers that all have the same email."""
    return str(row[EMAIL]).lower() == "user1@example.com"


def _is_behind(record: dict[str, Any], position: dict[str, Any]) -> bool:
    mark = position.get("mark") or ["iso", 0]
    # Those with the same time may be on a page that was not read yet: the overlap is for them.
    return bool(_microseconds(record["updated_at"]) < mark[1])


def _microseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def _is_same(where: dict[str, Any], name: str, content: bytes) -> bool:
    """Whether a file is still the one that was read so far."""
    if name.partition("?")[0].endswith(".gz"):
        return False
    return all(
        sha256(content[one["start"] : one["end"]]).hexdigest() == one["digest"]
        for one in (where["head"], where["tail"])
    )


def differences(
    found: Evidence,
    entity: Entity,
    customers: int,
    records: Sequence[object],
) -> list[str]:
    """How the table differs from that of an undisturbed load of these records."""
    model = Model(entity, customers)
    model.store(records)
    wanted = {key: row for key, row in model.rows.items() if not may_collide(row)}
    rows = {key: row for key, row in found.rows.items() if not may_collide(row)}
    return [
        *_wrong_rows(rows, wanted),
        *(
            ["rows: not one of those with the same email"]
            if len(model.rows) - len(wanted) != len(found.rows) - len(rows)
            else []
        ),
    ]
