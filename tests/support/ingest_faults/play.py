"""A combination from its first run to its last: kills, faults, repairs, and checks after each."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from sandbox.source import SourceOptions
from tests.support.cli_runs import environment_of, start_cli
from tests.support.ingest_faults.checks import differences, violations
from tests.support.ingest_faults.evidence import collect
from tests.support.ingest_faults.faults import FAULTS
from tests.support.ingest_faults.local_faults import LOCAL_FAULTS
from tests.support.ingest_faults.records import stored_as
from tests.support.ingest_faults.sides import (
    BAD_SHARE,
    CUSTOMERS,
    NUMBERED,
    FileSide,
    HttpSide,
    UrlSide,
    records_of,
)
from tests.support.ingest_faults.targets import MySQLTarget, SQLiteTarget, prepare
from tests.support.runs import finish

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.source import SourceProcess
    from tests.support.ingest_faults.evidence import Evidence
    from tests.support.ingest_faults.faults import Combination
    from tests.support.ingest_faults.sides import Side
    from tests.support.ingest_faults.targets import Blocker
    from tests.support.mysql_server import MySQLServer
    from tests.support.runs import RunResult

MAX_PASSES = 6
SECONDS_BETWEEN_LOOKS = 0.01
# InnoDB shows who waits for a lock as it was when it was last asked, unless 0.1 s have passed.
LOCK_SECONDS = 0.13
STARTING_SECONDS = (0.3, 0.9)
BUSY_SECONDS = 0.8
_LOCKS = frozenset({"row", "checkpoint"})
NO_HARM = frozenset({0, 1})
# How long a run that is about to be killed during a request waits for its answer.
PATIENT_SECONDS = 60


class Surroundings(NamedTuple):
    """What all combinations of a test process share.

    Attributes:
        source: the mock source.
        tls_url: the same with TLS, and the certificate.
        server: for MySQL; None if only SQLite is used.
    """

    source: SourceProcess
    tls_url: str
    certificate: Path
    server: MySQLServer | None


class Play:
    """A combination in progress."""

    def __init__(self, combination: Combination, folder: Path, around: Surroundings) -> None:
        self._combination = combination
        self._random = Random(str(combination))
        self._folder = folder
        self._source = around.source
        bad = self._random.choice((0.0, BAD_SHARE))
        self._source.configure(
            **{**_DEFAULTS, "customers": CUSTOMERS, "page_views": CUSTOMERS, "bad": bad}
        )
        self._source.reset()
        self._side = self._new_side(around)
        (folder / "sources.toml").write_text(self._side.toml)
        mysql = around.server if combination.engine == "mysql" else None
        self._target = MySQLTarget(mysql) if mysql else SQLiteTarget(folder)
        prepare(self._target.settings, combination.entity, CUSTOMERS)
        self._environment = environment_of(self._target.settings) | {
            "REQUESTS_CA_BUNDLE": str(around.certificate)
        }
        self._style = combination.kind.removeprefix("http-") if "http-" in combination.kind else ""
        # A change moves records to numbers that were read already: only a full refresh finds them.
        self._drifts = self._style in NUMBERED and "change" in combination.harmless
        self._found = self._collect()
        self._problems: list[str] = []
        self.kills = 0

    def _new_side(self, around: Surroundings) -> Side:
        kind, entity, random = self._combination.kind, self._combination.entity, self._random
        protocol, _, rest = kind.partition("-")
        if protocol == "http":
            return HttpSide(around.source, rest, entity, random)
        if protocol in {"url", "https"}:
            base = around.source.url if protocol == "url" else around.tls_url
            return UrlSide(around.source, base, f".{rest}", entity, random, around.certificate)
        return FileSide(self._folder, f".{kind}", entity, random)

    def play(self) -> list[str]:
        """Run with harmless faults and a kill, with one that ends it, and until all is complete."""
        self._killed_run(self._random.choice(self._kill_kinds()), self._combination.harmless)
        if not self.kills:
            self._update()
            self._killed_run(self._kill_kinds()[0], (), is_late=False)
        if self._combination.ending:
            # A killed run may have left enough to read.
            if self._random.random() < 0.6:
                self._update()
            self._ending_run(self._combination.ending)
        self._update()
        self._runs_until_complete()
        return self._problems

    def _update(self) -> None:
        """Let the source change, unless that moves records that a run under way has not read."""
        position = self._found.checkpoint[0] if self._found.checkpoint else {}
        if self._style not in NUMBERED or not position.get("run"):
            self._side.update()

    def _kill_kinds(self) -> tuple[str, ...]:
        """How this combination can be killed; the first one is certain to happen."""
        kinds: tuple[str, ...] = ("request",) if not isinstance(self._side, FileSide) else ()
        if isinstance(self._target, MySQLTarget):
            kinds += ("row", "row", "row", "checkpoint")
        else:
            kinds += ("busy",)
        return (*kinds, "time")

    def _killed_run(self, kind: str, faults: tuple[str, ...], *, is_late: bool = True) -> None:
        hangs = kind == "request" and "hang" not in faults
        with self._blocked(kind, is_late=is_late) as blocker, self._faults(faults, attempts=4):
            if hangs:
                skip = 0 if self._style == "none" else self._random.randint(0, 2)
                self._source.faults({"kind": "hang", "skip": skip})
            before = self._injected("hang")
            extra = {"REQUEST_TIMEOUT": str(PATIENT_SECONDS)} if kind == "request" else {}
            process = self._start(**extra)
            due = time.monotonic() + self._random.uniform(*STARTING_SECONDS)
            while process.poll() is None:
                if kind == "request":
                    is_due = self._injected("hang") > before
                elif blocker is not None:
                    is_due = blocker.waiting() is not None
                else:
                    is_due = time.monotonic() >= due
                if is_due:
                    process.kill()
                    break
                is_waiting = blocker is not None and blocker.is_taken
                time.sleep(LOCK_SECONDS if is_waiting else SECONDS_BETWEEN_LOOKS)
            ran = finish(self._folder, process)
        self._source.clear_faults()
        self.kills += ran.exit_code == -9
        local = frozenset({69}) if "rewritten" in faults else frozenset()
        self._check(ran, NO_HARM | local)
        self._side.repair()

    @contextmanager
    def _blocked(self, kind: str, *, is_late: bool = False) -> Iterator[Blocker | None]:
        """Another program's transaction in the way of the run, if the kill needs one."""
        if isinstance(self._target, SQLiteTarget) and kind == "busy":
            # The run waits for the file until it is killed.
            with self._target.busy():
                yield None
            return
        keys = self._keys_to_store()
        if not isinstance(self._target, MySQLTarget) or kind not in _LOCKS or not keys:
            yield None
            return
        # Not always on the first page.
        key = self._random.choice(keys[len(keys) // 3 :])
        tables = ["etl_records"]
        if self._combination.entity == "customers" and key not in self._found.rows:
            tables.append("customers")
        table = "etl_checkpoint" if kind == "checkpoint" else self._random.choice(tables)
        stored = len(self._found.pages)
        late = self._random.choice((None, stored, stored, stored + 1)) if is_late else None
        with self._target.locked(table, self._combination.entity, key, late) as blocker:
            yield blocker

    def _keys_to_store(self) -> list[str]:
        """The records of the source that the database does not have, or not so."""
        stored = [
            stored_as(self._combination.entity, record, CUSTOMERS)
            for record in records_of(self._side)
        ]
        return [one.key for one in stored if one and self._found.rows.get(one.key) != one.row]

    def _ending_run(self, name: str) -> None:
        before = self._injected_of(name)
        with self._faults((name,), attempts=2):
            ran = finish(self._folder, self._start())
        self._source.clear_faults()
        met = name in LOCAL_FAULTS or self._injected_of(name) > before
        self._check(ran, FAULTS[name].ends if met else NO_HARM)
        self._side.repair()

    @contextmanager
    def _faults(self, names: tuple[str, ...], attempts: int) -> Iterator[None]:
        """The faults, while a run is under way."""
        self._environment |= {
            "MAX_ATTEMPTS": str(attempts),
            "REQUEST_TIMEOUT": "3" if "hang" in names else "30",
        }
        requests = 1 if self._style == "none" else 3
        for name in names:
            fault = FAULTS[name]
            skip = max(fault.start, self._random.randrange(requests))
            if fault.script:
                self._source.faults({**fault.script, "skip": skip, "times": fault.times})
        with ExitStack() as local:
            for name in names:
                if isinstance(self._side, FileSide):
                    local.enter_context(LOCAL_FAULTS[name](self._side, self._random))
            yield

    def _runs_until_complete(self) -> None:
        """Without faults of the source; the database may have one in the first run."""
        self._environment |= {"MAX_ATTEMPTS": "3", "REQUEST_TIMEOUT": "30"}
        options: tuple[str, ...] = ()
        for number in range(MAX_PASSES):
            if number == 0 and self._combination.database:
                ran = self._disturbed_run(self._combination.database)
            else:
                ran = finish(self._folder, self._start(*options))
            self._check(ran, NO_HARM)
            rest = self._differences()
            if not rest:
                return
            if self._drifts and not self._is_under_way():
                options = ("--full-refresh",)
        self._problems += rest

    def _disturbed_run(self, fault: str) -> RunResult:
        """A run while the database fails; it repeats the page."""
        if isinstance(self._target, SQLiteTarget):
            with self._target.busy():
                process = self._start()
                time.sleep(BUSY_SECONDS)
            return finish(self._folder, process)
        with self._blocked("row") as blocker:
            process = self._start()
            while process.poll() is None and blocker is not None:
                if connection := blocker.waiting():
                    if fault == "deadlock":
                        blocker.cross()
                    else:
                        blocker.disconnect(connection)
                    break
                time.sleep(LOCK_SECONDS)
        return finish(self._folder, process)

    def _is_under_way(self) -> bool:
        return bool(self._found.checkpoint and self._found.checkpoint[0].get("run"))

    def _start(self, *options: str, **extra: str) -> subprocess.Popen[str]:
        return start_cli(self._folder, self._environment | extra, "run", *options)

    def _injected(self, label: str) -> int:
        return int(self._source.stats()["faults"].get(label, 0))

    def _injected_of(self, name: str) -> int:
        script = FAULTS[name].script
        status = f":{script['status']}" if "status" in script else ""
        return self._injected(f"{script.get('kind')}{status}")

    def _differences(self) -> list[str]:
        records = records_of(self._side)
        return differences(self._found, self._combination.entity, CUSTOMERS, records)

    def _collect(self) -> Evidence:
        self._target.wait_until_free()
        return collect(self._target.query, self._combination.entity)

    def _check(self, ran: RunResult, expected: frozenset[int]) -> None:
        """Compare what a process left with what must hold."""
        self._found = self._collect()
        is_comparable = not (self._drifts or self._combination.kind.endswith(".gz"))
        problems = violations(
            self._found,
            entity=self._combination.entity,
            shape=self._side.shape,
            style=self._style,
            customers=CUSTOMERS,
            contents=self._side.contents() if is_comparable else [],
            was_killed=ran.exit_code == -9,
        )
        problems += _strange_end(ran, self._found, expected)
        self._problems += [f"{problem} (after exit code {ran.exit_code})" for problem in problems]


def _strange_end(ran: RunResult, found: Evidence, expected: frozenset[int]) -> Iterator[str]:
    if ran.exit_code == -9:
        return
    if ran.exit_code not in expected or "Traceback" in ran.stderr:
        yield f"exit code {ran.exit_code}, expected {sorted(expected)}: {ran.stderr[-2000:]}"
    last = found.runs[-1]
    told = {0: ("completed", False), 1: ("completed", True)}.get(ran.exit_code, ("failed", None))
    if last.status != told[0] or told[1] not in {None, last.rejected > 0}:
        yield f"exit code {ran.exit_code}, but the last run is {last}"


_DEFAULTS = {"newest": SourceOptions().newest, "page_size": 100, "no_ranges": False}
