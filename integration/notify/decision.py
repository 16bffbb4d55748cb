"""Whether there is something to tell: once for each change of state. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OK = "ok"
PARTIAL = "partial"
Kind = Literal["failure", "warning", "success"]
_RANKS: dict[Kind, int] = {"failure": 0, "warning": 1, "success": 2}


class Condition(NamedTuple):
    """How one thing is: the delivery, a source, or a threshold of one of them.

    Attributes:
        scope: what it is about; the key of what was told last.
        state: `OK`, `PARTIAL`, or a word for what is wrong.
        title: what is so, in a few words.
        text: what is so, in one line without personal data; empty if the title says it all.
        advice: the command to run next; empty if nothing has to be done.
    """

    scope: str
    state: str
    title: str
    text: str = ""
    advice: str = ""


class Notification(NamedTuple):
    """What to tell, and what will have been told then."""

    title: str
    body: str
    kind: Kind
    states: dict[str, str]


def decide(
    previous: Mapping[str, str], conditions: Sequence[Condition], place: str
) -> Notification | None:
    """What to tell of the conditions that are not as they were told last; None if all are.

    Args:
        previous: the states that were told, by scope; what was never told is taken to be well.
        conditions: how things are now; in the text, what is worse comes first.
        place: which host or installation this is.
    """
    changed = [one for one in conditions if previous.get(one.scope, OK) != one.state]
    if not changed:
        return None
    ordered = sorted(changed, key=lambda one: _RANKS[_kind(one.state)])
    others = len(ordered) - 1
    more = f" (and {others} more)" if others else ""
    return Notification(
        title=f"{place}: {ordered[0].title}{more}",
        body="\n".join(_lines(ordered)),
        kind=_kind(ordered[0].state),
        states={one.scope: one.state for one in changed},
    )


def _kind(state: str) -> Kind:
    if state == OK:
        return "success"
    return "failure" if state.startswith("failed") else "warning"


def _lines(conditions: Sequence[Condition]) -> list[str]:
    """Each condition, followed by what to do; the same advice of several once, at the last."""
    lines: list[str] = []
    for one in conditions:
        lines.append(f"{one.title}. {one.text}".rstrip())
        if one.advice:
            advice = f"Next: {one.advice}"
            if advice in lines:
                lines.remove(advice)
            lines.append(advice)
    return lines
