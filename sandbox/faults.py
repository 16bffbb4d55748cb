"""Faults on request: an ordered script first, then random ones from a seeded generator."""

from __future__ import annotations

from dataclasses import field
from random import Random
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from sandbox.endpoints import Endpoint

Kind = Literal[
    "status",
    "reset_before",
    "reset_after",
    "close_after",
    "hang",
    "slow",
    "garbage",
    "html",
    "malformed",
    "truncated",
    "wrong_code",
    "echo_secrets",
]

# What each kind does; shown by --help and on the page.
FAULT_KINDS: dict[str, str] = {
    "status": "answers with `status`, `headers` and `body` (else the envelope that fits)",
    "reset_before": "resets the connection (TCP RST) and applies nothing",
    "reset_after": "applies the call, then resets the connection",
    "close_after": "applies the call, then closes the connection without an answer",
    "hang": "never answers",
    "slow": "answers after `delay_seconds` more",
    "garbage": "answers 200 application/json with a body that is not JSON",
    "html": "answers with an HTML page, 200 or `status`",
    "malformed": "answers with bytes that are not HTTP",
    "truncated": "announces more bytes than it sends, then closes",
    "wrong_code": "answers 200 with the code GenericError",
    "echo_secrets": "answers 400 with the request's key and token in msg",
}
_APPLIED_KINDS = frozenset({"reset_after", "close_after", "slow"})
_ENDPOINT_NAMES = frozenset({"*", *(endpoint.value for endpoint in Endpoint)})


def _known_endpoint(name: str) -> str:
    if name not in _ENDPOINT_NAMES:
        raise ValueError(f"no such endpoint, use one of {', '.join(sorted(_ENDPOINT_NAMES))}")
    return name


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Fault:
    """One line of the script: what happens to the next `times` calls that match.

    `email` matches single calls only. `applied` says whether the call takes effect all
    the same; by default, it does for reset_after, close_after and slow.
    """

    kind: Kind
    endpoint: Annotated[str, AfterValidator(_known_endpoint)] = "*"
    email: Annotated[str | None, BeforeValidator(_lower)] = None
    status: Annotated[int | None, Field(ge=200, le=599)] = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    times: Annotated[int, Field(ge=1)] = 1
    delay_seconds: Annotated[float, Field(ge=0)] = 1.0
    applied: bool | None = None

    @property
    def is_applied(self) -> bool:
        """Whether the call takes effect."""
        return self.kind in _APPLIED_KINDS if self.applied is None else self.applied

    @property
    def label(self) -> str:
        """The fault's name in the record, such as `status:503` or `hang`."""
        return f"status:{self.status or 500}" if self.kind == "status" else self.kind

    def matches(self, endpoint: Endpoint, email: str | None) -> bool:
        """Return whether the fault applies to a call."""
        return self.endpoint in {"*", endpoint.value} and self.email in {None, email}


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class FaultRates:
    """How probable each fault is, by its label: `{"status:503": 0.05, "hang": 0.01}`."""

    rates: dict[str, Annotated[float, Field(ge=0, le=1)]] = field(default_factory=dict)
    seed: int = 1

    def faults(self) -> list[tuple[Fault, float]]:
        """Return each fault with its probability.

        Raises:
            pydantic.ValidationError: a label is not that of a fault.
        """
        return [(fault_from_label(label), rate) for label, rate in self.rates.items()]


def fault_from_label(label: str) -> Fault:
    """Return the fault that a label such as `status:503` or `hang` names."""
    kind, _, status = label.partition(":")
    return TypeAdapter(Fault).validate_python({"kind": kind, "status": status or None})


class Faults:
    """The faults still to come."""

    def __init__(self) -> None:
        self._script: list[tuple[Fault, int]] = []
        self._rates: list[tuple[Fault, float]] = []
        self._random = Random(1)  # noqa: S311 - it decides which calls fail, nothing secret

    def add(self, faults: list[Fault]) -> None:
        """Append to the script."""
        self._script += [(fault, fault.times) for fault in faults]

    def set_rates(self, rates: FaultRates) -> None:
        """Replace the random faults and restart their generator."""
        self._rates = rates.faults()
        self._random = Random(rates.seed)  # noqa: S311 - as above

    def clear(self) -> None:
        """Forget everything."""
        self._script.clear()
        self._rates.clear()

    @property
    def pending(self) -> int:
        """How many calls the script is still waiting for."""
        return sum(left for _, left in self._script)

    def next_for(
        self, endpoint: Endpoint, email: str | None, *, is_write: bool = False
    ) -> Fault | None:
        """Return the fault that applies to a call, and use it up."""
        for index, (fault, left) in enumerate(self._script):
            if fault.matches(endpoint, email):
                self._script[index : index + 1] = [(fault, left - 1)] if left > 1 else []
                return fault
        return self._drawn() if is_write and self._rates else None

    def _drawn(self) -> Fault | None:
        drawn = self._random.random()
        for fault, rate in self._rates:
            if drawn < rate:
                return fault
            drawn -= rate
        return None
