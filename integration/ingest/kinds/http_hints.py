"""What the first answer of a source says about keys that are likely to be wrong. Pure.

Both mistakes lose data or time without an error: a source of which only one page is read, and one
that is read from its beginning by every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.ingest.kinds.high_water import peak_of
from integration.ingest.kinds.pagination import value_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from integration.ingest.sources import HttpSource, Pagination

MAX_NAMES = 10


def first_page_hints(
    source: HttpSource, answer: object, headers: Mapping[str, str], items: Sequence[object]
) -> list[str]:
    """A line for each mistake that the answer to the first request suggests.

    Args:
        source: what is read.
        answer: the decoded JSON.
        headers: of the answer, to be looked up in lower case.
        items: its records; without any there is nothing to say.
    """
    if not items:
        return []
    hints = []
    if absent := _absent_next(source.pagination, answer, headers):
        hints.append(
            f"{source.name}: the answer has no {absent}, so only one page is read: if there are "
            f"more, correct pagination in [sources.{source.name}]; {_names_text(answer)}"
        )
    cursor = source.cursor
    if cursor is not None and peak_of([value_at(item, cursor.field) for item in items]) is None:
        hints.append(
            f"{source.name}: no record of the first page has a time or a number at {cursor.field}, "
            "so every run reads everything: correct the field of cursor in "
            f"[sources.{source.name}]"
        )
    return hints


def _absent_next(pagination: Pagination, answer: object, headers: Mapping[str, str]) -> str | None:
    """What should name the next page, if the answer has no such thing, not even null."""
    if pagination.kind == "link":
        return None if "link" in headers else "Link header"
    if pagination.kind in {"cursor", "next_url"}:
        path = str(getattr(pagination, "next", ""))
        return path if _is_absent(answer, path) else None
    return None


def _is_absent(answer: object, path: str) -> bool:
    """Whether an answer has nothing at a path, not even null there or above it."""
    for name in path.split("."):
        if answer is None:
            return False
        if not isinstance(answer, dict) or name not in answer:
            return True
        answer = answer[name]
    return False


def _names_text(answer: object) -> str:
    """What the answer has, for an operator who looks for the right path."""
    if not isinstance(answer, dict):
        return "the answer is a list"
    names = [
        f"{name}.{inner}" if inner else name
        for name, value in answer.items()
        for inner in (value if isinstance(value, dict) and value else [""])
    ]
    return f"it has {', '.join(names[:MAX_NAMES])}"
