"""The faults, the kinds of sources that can have them, and the combinations of both.

`FAULT_COMBINATIONS=1000` in the environment asks for more combinations than the default.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import chain, count, islice, zip_longest
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from tests.support.ingest_faults.sides import NUMBERED, STYLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.source.records import Entity

HTTP_KINDS = tuple(f"http-{style}" for style in STYLES)
URL_KINDS = ("url-csv", "url-jsonl.gz", "https-csv")
FILE_KINDS = ("csv", "jsonl", "csv.gz", "jsonl.gz")
KINDS = (*HTTP_KINDS, *URL_KINDS, *FILE_KINDS)
COMBINATIONS = max(64, int(os.environ.get("FAULT_COMBINATIONS", "0")))

Engine = Literal["mysql", "sqlite"]


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and how a run ends that meets it.

    Attributes:
        script: for the mock source; a fault of files or the database has none.
        ends: the exit codes of a run that meets it; empty if it does no harm.
        times: how many requests it concerns.
        start: the first request that it may concern.
    """

    script: dict[str, Any] = field(default_factory=dict)
    ends: frozenset[int] = frozenset()
    times: int = 1
    start: int = 0


def _ending(*codes: int) -> frozenset[int]:
    return frozenset(codes)


_HOUR = {"Retry-After": "3600"}
NETWORK: dict[str, Fault] = {
    "429": Fault({"kind": "status", "status": 429}),
    "429_after": Fault({"kind": "status", "status": 429, "headers": {"Retry-After": "1"}}),
    "429_long": Fault({"kind": "status", "status": 429, "headers": _HOUR}, _ending(69), 9),
    "503": Fault({"kind": "status", "status": 503}),
    "500_stays": Fault({"kind": "status", "status": 500}, _ending(69), 9),
    "401": Fault({"kind": "status", "status": 401}, _ending(77), 9),
    "404": Fault({"kind": "status", "status": 404}, _ending(69), 9),
    "reset_before": Fault({"kind": "reset_before"}),
    "reset_middle": Fault({"kind": "reset_middle"}),
    "truncated": Fault({"kind": "truncated"}),
    "malformed": Fault({"kind": "malformed"}, _ending(69), 9),
    "slow": Fault({"kind": "slow", "delay_seconds": 0.3}),
    "drip": Fault({"kind": "drip", "delay_seconds": 0.003}),
    "hang": Fault({"kind": "hang"}),
    "redirect": Fault({"kind": "redirect"}),
    "html": Fault({"kind": "html"}, _ending(69, 78), 9),
    "garbage": Fault({"kind": "garbage"}, _ending(69, 78), 9),
    "change": Fault({"kind": "change", "count": 5}),
}
PAGES: dict[str, Fault] = {
    "endless": Fault({"kind": "endless"}, _ending(69), 99),
    # The first page has no token yet that could be repeated.
    "repeat_token": Fault({"kind": "repeat_token"}, _ending(69), 9, start=1),
    "shrink": Fault({"kind": "shrink"}, times=2),
}
FILES: dict[str, Fault] = {
    "cut_off": Fault(ends=_ending(0, 69)),
    "growing": Fault(ends=_ending(0, 69)),
    "latin1": Fault(ends=_ending(1)),
    "bad_rows": Fault(ends=_ending(1)),
    "renamed": Fault(ends=_ending(78)),
    "gone": Fault(ends=_ending(69)),
    "page_of_html": Fault(ends=_ending(69, 78)),
    "rewritten": Fault(),
}
PACKED: dict[str, Fault] = {
    "gz_cut_off": Fault(ends=_ending(69)),
    "gz_damaged": Fault(ends=_ending(69)),
}
FAULTS = {**NETWORK, **PAGES, **FILES, **PACKED}
DATABASE_FAULTS: dict[Engine, tuple[str, ...]] = {
    "mysql": ("connection_lost", "deadlock", ""),
    "sqlite": ("busy", ""),
}


def faults_of(kind: str) -> dict[str, Fault]:
    """The faults that a kind of source can have."""
    if kind in FILE_KINDS:
        return FILES | (PACKED if kind.endswith(".gz") else {})
    if kind in URL_KINDS:
        return NETWORK
    style = kind.removeprefix("http-")
    pages = dict(PAGES)
    if style == "none":
        pages.clear()
    if style in NUMBERED:
        del pages["repeat_token"]  # there are no tokens
    if style == "page":
        del pages["shrink"]  # the numbers of pages that change their size say nothing
    return NETWORK | pages


@dataclass(frozen=True)
class Combination:
    """A kind of source, its faults, and a seed that decides everything else.

    Attributes:
        harmless: the faults of a run that is killed.
        ending: the fault that ends another run; empty if there is none left.
        database: the fault of the database in a third run; empty for none.
    """

    seed: int
    kind: str
    harmless: tuple[str, ...]
    ending: str
    engine: Engine
    database: str
    entity: Entity

    def __str__(self) -> str:
        faults = "+".join(filter(None, (*self.harmless, self.ending, self.database)))
        return f"seed{self.seed}-{self.kind}-{faults}-{self.entity}-{self.engine}"


def combinations() -> list[Combination]:
    """As many as are asked for: first each kind once, then each once again, with other faults."""
    endless = chain.from_iterable(_round(seed) for seed in count(1))
    return list(islice(endless, COMBINATIONS))


def _round(seed: int) -> Iterator[Combination]:
    """Combinations in which each kind has each of its faults once."""
    random = Random(seed)
    dealt = [list(_deal(kind, seed, random)) for kind in KINDS]
    for some in zip_longest(*dealt):
        yield from filter(None, some)


def _deal(kind: str, seed: int, random: Random) -> Iterator[Combination]:
    faults = faults_of(kind)
    ending = [name for name, fault in faults.items() if fault.ends]
    harmless = [name for name in faults if name not in ending]
    random.shuffle(ending)
    random.shuffle(harmless)
    size = max(len(ending), len(harmless) // 2)
    for number in range(size):
        own = tuple(harmless[number::size])
        engine: Engine = random.choice(("mysql", "mysql", "mysql", "sqlite"))
        yield Combination(
            seed,
            kind,
            own,
            ending[number] if number < len(ending) else "",
            engine,
            random.choice(DATABASE_FAULTS[engine]),
            random.choice(("customers", "customers", "page_views")),
        )
