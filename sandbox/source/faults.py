"""Faults of a mock source, on request."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Kind = Literal[
    "status",
    "reset_before",
    "reset_middle",
    "truncated",
    "garbage",
    "html",
    "malformed",
    "hang",
    "slow",
    "drip",
    "endless",
    "repeat_token",
    "shrink",
    "change",
    "redirect",
    "too_large",
    "echo_secrets",
]

# What each kind does; shown by --help and on the page.
FAULT_KINDS: dict[str, str] = {
    "status": "answers with `status`, `headers` and `body`",
    "reset_before": "resets the connection (TCP RST) without an answer",
    "reset_middle": "sends half of the answer, then resets the connection",
    "truncated": "sends half of the answer, then closes the connection",
    "garbage": "answers 200 application/json with a body that is not JSON",
    "html": "answers with an HTML page, 200 or `status`",
    "malformed": "answers with bytes that are not HTTP",
    "hang": "never answers",
    "slow": "answers after `delay_seconds` more",
    "drip": "sends a hundredth of the answer every `delay_seconds`",
    "endless": "sends the first page again, under a new token",
    "repeat_token": "names the token of this page as that of the next",
    "shrink": "sends half of the records that the page should have, and the right token",
    "change": "changes the first `count` records before it answers",
    "redirect": "answers with `status` (302) and `location`; {path} stands for the request's path",
    "too_large": "sends `count` million bytes of white space",
    "echo_secrets": "answers 400 with the request's credentials in the body",
}


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class SourceFault:
    """One line of the script: what happens to requests for `path` after the first `skip`."""

    kind: Kind
    path: str = ""
    skip: Annotated[int, Field(ge=0)] = 0
    times: Annotated[int, Field(ge=1)] = 1
    status: Annotated[int | None, Field(ge=200, le=599)] = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    delay_seconds: Annotated[float, Field(ge=0)] = 1.0
    count: Annotated[int, Field(ge=1)] = 1
    location: str = "{path}"

    @property
    def label(self) -> str:
        """The fault's name in the record, such as `status:503` or `hang`."""
        return f"status:{self.status or 500}" if self.kind == "status" else self.kind


@dataclass(slots=True)
class _Pending:
    fault: SourceFault
    skip: int
    times: int


class SourceFaults:
    """The faults still to come."""

    def __init__(self) -> None:
        self._pending: list[_Pending] = []

    @property
    def pending(self) -> int:
        """How many requests the script is still waiting for."""
        return sum(pending.times for pending in self._pending)

    def add(self, faults: list[SourceFault]) -> None:
        """Append to the script."""
        self._pending += [_Pending(fault, fault.skip, fault.times) for fault in faults]

    def clear(self) -> None:
        """Forget the script."""
        self._pending.clear()

    def next_for(self, path: str) -> SourceFault | None:
        """Return the fault of a request, and use it up."""
        for pending in self._pending:
            if not path.startswith(pending.fault.path):
                continue
            if pending.skip:
                pending.skip -= 1
                continue
            pending.times -= 1
            if not pending.times:
                self._pending.remove(pending)
            return pending.fault
        return None
