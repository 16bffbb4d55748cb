"""Two runs beside each other: counts, duration, rate, and who is in only one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from integration.journal.run_users import only_in
from integration.service.masking import mask_key, masked
from integration.service.problems import wrong_parameter
from integration.service.run_documents import delivery_document, ingest_document
from integration.service.run_lists import delivery_run_of, ingest_run_of, person_of

if TYPE_CHECKING:
    from integration.service.parts import Parts
    from integration.service.run_documents import RunId

MAX_LISTED = 100


class OnlyIn(NamedTuple):
    """Users or rejected records that only one of the runs has: how many, and the first of them."""

    total: int
    items: list[dict[str, object]]


def compare(parts: Parts, one: RunId, other: RunId, *, is_masked: bool) -> dict[str, object]:
    """The comparison of two runs of the same kind.

    Raises:
        Problem: 422, they are of different kinds; 404, one of them is none.
    """
    if one.kind != other.kind:
        raise wrong_parameter("run2", f"is not of the kind of run1: compare two {one.kind} runs")
    compared = _deliveries if one.kind == "delivery" else _ingests
    first, second, only_first, only_second = compared(parts, one, other)
    if is_masked:
        only_first, only_second = (_masked(found) for found in (only_first, only_second))
    return {
        "run1": first,
        "run2": second,
        "changes": changes(first, second),
        "compared": "users" if one.kind == "delivery" else "rejected records",
        "only_in_run1": only_first._asdict(),
        "only_in_run2": only_second._asdict(),
    }


def changes(first: dict[str, object], second: dict[str, object]) -> dict[str, object]:
    """What the second run has more than the first, by name."""
    return {name: after - before for name, before, after in numbers_of(first, second)}


def numbers_of(
    first: dict[str, object], second: dict[str, object]
) -> list[tuple[str, float, float]]:
    """The numbers that both runs have: name, of the first, of the second."""
    numbers = [_numbers(run) for run in (first, second)]
    return [
        (name, value, numbers[1][name]) for name, value in numbers[0].items() if name in numbers[1]
    ]


def _numbers(run: dict[str, object]) -> dict[str, float]:
    counts = run["counts"]
    assert isinstance(counts, dict)
    values = {**counts, "seconds": run["seconds"], "rate": run["rate"]}
    return {name: value for name, value in values.items() if value is not None}


_Compared = tuple[dict[str, object], dict[str, object], OnlyIn, OnlyIn]


def _deliveries(parts: Parts, one: RunId, other: RunId) -> _Compared:
    with delivery_run_of(parts, one) as (journal, first):
        with delivery_run_of(parts, other) as (_, second):
            pass
        found = [
            only_in(journal, here.number, there.number, MAX_LISTED)
            for here, there in ((one, other), (other, one))
        ]
    listed = [
        OnlyIn(total, [person_of(row, run.run.columns) for row in rows])
        for (total, rows), run in zip(found, (first, second), strict=True)
    ]
    return delivery_document(first), delivery_document(second), listed[0], listed[1]


def _ingests(parts: Parts, one: RunId, other: RunId) -> _Compared:
    with ingest_run_of(parts, one) as (session, first):
        second = parts.ingest.run(session, other.number)
        if second is None:
            raise wrong_parameter("run2", "is no run: see /runs")
        keys = [
            {
                (record.source_key, record.code, record.field): record
                for record in parts.ingest.rejected_of_run(session, run.number, (-1, -1), 10_000)
            }
            for run in (one, other)
        ]
    only = [
        [record._asdict() for key, record in here.items() if key not in there]
        for here, there in (keys, keys[::-1])
    ]
    listed = [OnlyIn(len(items), items[:MAX_LISTED]) for items in only]
    return ingest_document(first), ingest_document(second), listed[0], listed[1]


def _masked(found: OnlyIn) -> OnlyIn:
    return found._replace(items=[{**masked(item), **_masked_key(item)} for item in found.items])


def _masked_key(item: dict[str, object]) -> dict[str, object]:
    return {"source_key": mask_key(item["source_key"])} if "source_key" in item else {}
