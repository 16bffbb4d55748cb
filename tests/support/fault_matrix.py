"""Runs that are killed while Iterable misbehaves, and what must hold after each of them.

`FAULT_COMBINATIONS=1000` in the environment asks for more combinations than the default 108;
from 1,000 on, the large runs have 20,000 users instead of 2,000.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from integration.delivery.new_users import email_of
from integration.journal.packing import decode
from integration.journal.schema import CallStatus
from sandbox.faults import FAULT_KINDS
from sandbox.options import SandboxOptions
from sandbox.process import SandboxProcess
from tests.support.runs import Customer, RunResult, database_of, environment_for, finish, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

COMBINATIONS = int(os.environ.get("FAULT_COMBINATIONS", "108"))
MANY_USERS = 20_000 if COMBINATIONS >= 1_000 else 2_000
STATUSES = (400, 401, 408, 413, 429, 500, 503)
FAULTS = (
    *(kind for kind in FAULT_KINDS if kind != "status"),
    *(f"status:{status}" for status in STATUSES),
)
MODES = ("single", "bulk")
# A bulk run makes few calls: a higher share must fail for a run to see any failure.
RATES = {"single": 0.08, "bulk": 0.3}
# These stop the run; a higher rate would take dozens of passes.
STOPPING_RATE = 0.02
MAX_PASSES = 12
SECONDS_BETWEEN_LOOKS = 0.005
# The guarantee: answers are in the journal within a second.
MAX_UNNOTED_SECONDS = 1.0
# From an answer to the commit that holds it; a busy machine is slower.
SLACK_SECONDS = 0.25
# How long a program that is about to be killed during a call waits for its answer.
PATIENT_SECONDS = "60"
NO_FAULT = {"kind": "slow", "delay_seconds": 0}
EXIT_CODES = {0, 1, 69, 77}


class Wanted(NamedTuple):
    """What Iterable must store for a user in the end, computed from the database's tables."""

    profile: dict[str, Any]
    event: dict[str, Any]
    created_at: int


class JournalRun(NamedTuple):
    """A run as recorded in the journal; `users` are (email, profile delivered, event delivered)."""

    run_id: str
    status: str
    total_users: int
    users: list[tuple[str | None, bool, bool]]


@dataclass(frozen=True)
class Evidence:
    """What exists while no process runs: Iterable's own record, results files, journal."""

    users: dict[str, dict[str, Any]]
    events: dict[str, dict[str, Any]]
    results: list[dict[str, Any]]
    journal: list[JournalRun]


@dataclass(frozen=True)
class Combination:
    """One fault, one delivery mode, and a seed that decides everything else."""

    fault: str
    mode: str
    seed: int

    def play(self, folder: Path) -> tuple[list[str], int]:
        """Kill and resume, then stop the faults; returns the problems and the number of kills."""
        random = Random(repr(self))
        options = SandboxOptions(latency=random.choice((0.01, 0.02, 0.05)))
        with SandboxProcess(options) as sandbox:
            database = database_of(folder / "customers.sqlite", customers(random))
            return Play(self, random, folder, sandbox, database).play()


class Play:
    """A combination in progress."""

    def __init__(
        self,
        combination: Combination,
        random: Random,
        folder: Path,
        sandbox: SandboxProcess,
        database: Path,
    ) -> None:
        self._combination = combination
        self._random = random
        self._folder = folder
        self._sandbox = sandbox
        self._wanted = wanted_of(database)
        self._environment = environment_for(folder, sandbox, database) | {
            "DELIVERY_MODE": combination.mode,
            "MAX_ATTEMPTS": str(random.choice((1, 2, 2))),
            "MAX_WORKERS": str(random.choice((1, 4, 16, 64))),
            "RATE_LIMIT_SHARE": "10000",
            "REQUEST_TIMEOUT": "0.5",
        }
        self._calls_left = 2 * len(self._wanted)
        self._problems: list[str] = []

    def play(self) -> tuple[list[str], int]:
        """Kill the program a few times, then let it finish; returns the problems and the kills."""
        self._set_faults()
        arguments: tuple[str, ...] | None = ()
        kills = 0
        for number in range(self._random.randint(1, 3)):
            if arguments is None:
                break
            # Where no fault is certain to occur, one kill is.
            is_sure = number == 0 and self._combination.seed % 3 == 2
            kind = "call" if is_sure else self._random.choice(("call", "call", "time", "step"))
            is_due = self._at_a_call(is_sure=True) if is_sure else self._moment(kind)
            patience = {"REQUEST_TIMEOUT": PATIENT_SECONDS} if kind == "call" else {}
            process = start(self._folder, self._environment | patience, *arguments)
            kills += kill_when(process, is_due)
            arguments = self._check_and_choose_next(finish(self._folder, process), arguments)
        self._sandbox.rates({})
        for _ in range(MAX_PASSES):
            if arguments is None:
                break
            ran = finish(self._folder, start(self._folder, self._environment, *arguments))
            arguments = self._check_and_choose_next(ran, arguments)
        else:
            self._problems.append("someone is still open after all passes")
        if self._combination.seed % 3 == 1:
            self._run_again()
        self._problems += unfinished_business(self._wanted, evidence(self._folder, self._sandbox))
        return self._problems, kills

    def _run_again(self) -> None:
        """Send every user once more, which must change nothing at Iterable."""
        ran = finish(self._folder, start(self._folder, self._environment))
        self._check_and_choose_next(ran, ())

    def _set_faults(self) -> None:
        fault, seed = self._combination.fault, self._combination.seed
        if seed % 3 == 0:  # one certain fault, wherever the random ones fall
            self._sandbox.faults([scripted(fault)])
        self._sandbox.rates({fault: self._rate()}, seed=seed)

    def _rate(self) -> float:
        stopping = self._combination.fault == "status:401"
        return STOPPING_RATE if stopping else RATES[self._combination.mode]

    def _moment(self, kind: str) -> Callable[[], bool]:
        """When to kill: during some call, after some time, or at the start of a step of the run."""
        if kind == "time":
            due = time.monotonic() + self._random.uniform(0.05, 1.5)
            return lambda: time.monotonic() >= due
        if kind == "step":
            return self._at_step(self._random.choice(("[STEP 3]", "[STEP 4.5]", "[STEP 6]")))
        return self._at_a_call()

    def _at_a_call(self, *, is_sure: bool = False) -> Callable[[], bool]:
        """During a call that gets no answer, which keeps the process alive however late we look.

        Args:
            is_sure: no fault may end the run before that call.
        """
        most = 4 if self._combination.mode == "bulk" else len(self._wanted)
        before_it = self._random.randint(1, min(most, self._calls_left)) - 1
        calls = [NO_FAULT if is_sure else self._good_or_bad_call() for _ in range(before_it)]
        applied = self._random.choice((True, False))
        self._sandbox.faults([*calls, {"kind": "hang", "applied": applied}])
        hangs = hangs_seen(self._sandbox)
        return lambda: hangs_seen(self._sandbox) > hangs

    def _good_or_bad_call(self) -> dict[str, Any]:
        """What the rates would do to a call: they do not apply while a script is set."""
        bad = self._random.random() < self._rate()
        return scripted(self._combination.fault) if bad else NO_FAULT

    def _at_step(self, name: str) -> Callable[[], bool]:
        log = self._folder / "run.log"

        def seen() -> int:
            return log.read_text(encoding="utf-8").count(name) if log.exists() else 0

        before = seen()
        return lambda: seen() > before

    def _check_and_choose_next(
        self, ran: RunResult, arguments: tuple[str, ...]
    ) -> tuple[str, ...] | None:
        """Check what a process left and choose the next command line; None when all is done."""
        found = evidence(self._folder, self._sandbox)
        self._problems += [*violations(self._wanted, found), *_strange_ending(ran, found)]
        self._calls_left = calls_left(self._wanted, found)
        if ran.exit_code == -9:
            return ("--resume",)
        if "Nothing to resume" in ran.stdout:
            return ("--retry-failed",) if found.journal else ()
        if "Nothing to retry" in ran.stdout or not still_open(self._wanted, found):
            return None if _all_ended(found) else ("--resume",)
        return ("--resume",) if ran.exit_code in {69, 77} else ("--retry-failed",)


def scripted(label: str) -> dict[str, Any]:
    """The fault for a label such as `status:503` or `hang`, for the sandbox's script."""
    kind, _, status = label.partition(":")
    return {"kind": kind, "status": int(status)} if status else {"kind": kind}


def customers(random: Random) -> Iterator[Customer | str | None]:
    """Ordinary and unusual customers, and two that cannot be sent."""
    for number in range(random.randint(30, 90)):
        yield Customer(
            random.choice((f"user{number}@example.com", f"User.{number}@Example.COM")),
            first_name=random.choice(("Ada", None, "Zoë 🦊")),
            candidate=random.choice(("yes", None)),
            location=random.choice(("London", None, "=1+1")),
        )
    yield None
    yield "no-at-sign"


def wanted_of(database: Path) -> dict[str, Wanted]:
    """What Iterable must store in the end, by email as Iterable writes it."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(
            "SELECT * FROM customers JOIN page_views ON user_id = customers.id"
        ).fetchall()
    return {row["email"].lower(): _wanted(row) for row in rows if "@" in (row["email"] or "")}


def _wanted(row: sqlite3.Row) -> Wanted:
    profile = ("first_name", "last_name", "plan_type", "candidate")
    event = ("page", "device", "browser", "location", "candidate")
    viewed = datetime.fromisoformat(row["event_time"]).replace(tzinfo=UTC)
    return Wanted(
        {name: row[name] for name in profile} | {"recent_page_view": True},
        {name: row[name] for name in event} | {"timestamp": row["event_time"]},
        int(viewed.timestamp()),
    )


def kill_when(process: subprocess.Popen[str], is_due: Callable[[], bool]) -> bool:
    """Kill -9 a process when `is_due` says so; False when it ended before that."""
    while not is_due():
        try:
            # Reads what the process prints; a full pipe would block it.
            process.communicate(timeout=SECONDS_BETWEEN_LOOKS)
        except subprocess.TimeoutExpired:
            continue
        return False
    process.kill()
    return process.wait() == -9


def calls_seen(sandbox: SandboxProcess) -> int:
    """How many calls the mock server has received."""
    return sum(sandbox.stats()["calls"].values())


def calls_in_doubt(sandbox: SandboxProcess, latency_seconds: float) -> list[dict[str, Any]]:
    """The calls that a killed program may repeat: in flight, or answered but not yet recorded.

    Counted from the last call, not from the kill: a program that was suspended in between had no
    time for either. Call it when the program has been killed.
    """
    calls = sandbox.calls()
    times = [call["monotonic_time"] for call in calls]
    since = max(times) - latency_seconds - MAX_UNNOTED_SECONDS - SLACK_SECONDS
    return [call for call in calls if call["monotonic_time"] >= since]


def hangs_seen(sandbox: SandboxProcess) -> int:
    """How many calls the mock server has left unanswered."""
    return int(sandbox.stats()["faults"].get("hang", 0))


def evidence(folder: Path, sandbox: SandboxProcess) -> Evidence:
    """Collect the evidence without changing it."""
    state = sandbox.state()
    files = sorted(folder.glob("integration_results_*.json"))
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return Evidence(state["users"], state["events"], results, journal_of(folder))


def journal_of(folder: Path) -> list[JournalRun]:
    """The journal's runs, read from a copy: opening a file in WAL mode would change it."""
    with tempfile.TemporaryDirectory() as name:
        for file in folder.glob("iterable_journal.db*"):
            shutil.copy(file, name)
        path = Path(name) / "iterable_journal.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(path)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone():
                return []
            return [
                JournalRun(run_id, status, total, _journal_users(connection, run))
                for run, run_id, status, total in connection.execute(
                    "SELECT run, run_id, status, total_users FROM runs ORDER BY run"
                ).fetchall()
            ]


def _journal_users(connection: sqlite3.Connection, run: int) -> list[tuple[str | None, bool, bool]]:
    """The users of a run with both calls; one with two outcomes would be there twice."""
    packs = connection.execute(
        "SELECT content, last - first + 1 FROM packed_rows WHERE run = ? ORDER BY first", (run,)
    )
    emails = [email_of(row) for content, count in packs for row in decode(content, count)]
    rows = connection.execute(
        "SELECT u.position, o.users_update_status, o.events_track_status FROM users u"
        " LEFT JOIN outcomes o ON o.run = u.run AND u.position BETWEEN o.first AND o.last"
        " WHERE u.run = ? ORDER BY u.position",
        (run,),
    )
    done = {CallStatus.DELIVERED, CallStatus.UNCHANGED, CallStatus.SUPERSEDED}
    return [
        (emails[position - 1], profile in done, event in done) for position, profile, event in rows
    ]


def violations(wanted: dict[str, Wanted], found: Evidence) -> list[str]:
    """What must never happen, at any moment: one line each."""
    return [
        *_wrong_at_iterable(wanted, found),
        *(problem for result in found.results for problem in _does_not_add_up(result)),
        *_recorded_but_not_stored(found),
        *(
            f"journal: run {run.run_id} has {len(run.users)} of {run.total_users} users"
            for run in found.journal
            if len(run.users) != run.total_users
        ),
    ]


def unfinished_business(wanted: dict[str, Wanted], found: Evidence) -> list[str]:
    """Final state: every user delivered and recorded, a results file for each run."""
    tracked = {event["email"] for event in found.events.values()}
    delivered = delivered_emails(found)
    known = Counter(result["run_id"] for result in found.results)
    return [
        *(f"lost: {email} has no profile" for email in wanted if email not in found.users),
        *(f"lost: {email} has no event" for email in wanted if email not in tracked),
        *(f"not recorded as delivered: {email}" for email in wanted if email not in delivered),
        *(
            f"run {run.run_id} ({run.status}) has {known[run.run_id]} results files"
            for run in found.journal
            if run.status != "completed" or known[run.run_id] != 1
        ),
    ]


def still_open(wanted: dict[str, Wanted], found: Evidence) -> set[str]:
    """Users that can be delivered but are not recorded as delivered."""
    return set(wanted) - delivered_emails(found)


def calls_left(wanted: dict[str, Wanted], found: Evidence) -> int:
    """How many single calls the latest run still has to make; at least one."""
    known_users = found.journal[-1].users if found.journal else []
    newest = known_users or [(email, False, False) for email in wanted]
    known = [calls for email, *calls in newest if (email or "").lower() in wanted]
    return max(1, sum(calls.count(False) for calls in known))


def delivered_emails(found: Evidence) -> set[str]:
    """Every user that some results file reports as delivered."""
    return {
        record["email"].lower()
        for result in found.results
        for record in result["records"]
        if record["overall_success"]
    }


def repeats(stored: dict[str, dict[str, Any]]) -> int:
    """How often something was sent that was already stored."""
    return sum(thing["updates"] - 1 for thing in stored.values())


def _wrong_at_iterable(wanted: dict[str, Wanted], found: Evidence) -> Iterator[str]:
    events = Counter(event["email"] for event in found.events.values())
    for email, count in events.items():
        if count > 1:
            yield f"twice: {email} has {count} events"
    for email, user in found.users.items():
        if email not in wanted or user["dataFields"] != wanted[email].profile:
            yield f"profile: {email} is stored as {user['dataFields']}"
    for event in found.events.values():
        user_wanted = wanted.get(event["email"])
        stored = (event["eventName"], event["dataFields"], event["createdAt"])
        if not user_wanted or stored != ("page_view", user_wanted.event, user_wanted.created_at):
            yield f"event: that of {event['email']} is stored as {stored}"


def _does_not_add_up(results: dict[str, Any]) -> Iterator[str]:
    kinds = Counter(_kind_of(record) for record in results["records"])
    names = ("successful", "partial_failures", "total_failures", "not_attempted")
    parts = {name: results[name] for name in names}
    told = sum(parts.values()) + results["unchanged"]
    if not told == results["total_users"] == len(results["records"]):
        yield f"accounting: {parts} of {results['total_users']}, {len(results['records'])} records"
    delivered = results["successful"] + results["unchanged"]
    counted = (delivered, *(results[name] for name in names[1:]))
    if counted != tuple(kinds[name] for name in names):
        yield f"accounting: {parts}, but the records say {dict(kinds)}"


def _kind_of(record: dict[str, Any]) -> str:
    calls = [record["users_update"], record["events_track"]]
    good = sum(call["success"] for call in calls)
    if record["overall_success"] != (good == 2):
        return "contradictory"
    if good:
        return "successful" if good == 2 else "partial_failures"
    untried = all(call["error"] == "not_attempted" for call in calls)
    return "not_attempted" if untried else "total_failures"


def _recorded_but_not_stored(found: Evidence) -> Iterator[str]:
    tracked = {event["email"] for event in found.events.values()}
    for where, email, profile, event in _recorded(found):
        if profile and (email or "").lower() not in found.users:
            yield f"{where} says that {email} has a profile"
        if event and (email or "").lower() not in tracked:
            yield f"{where} says that {email} has an event"


def _recorded(found: Evidence) -> Iterable[tuple[str, str | None, bool, bool]]:
    for result in found.results:
        for record in result["records"]:
            update, track = record["users_update"], record["events_track"]
            yield (
                f"results {result['run_id']}",
                record["email"],
                update["success"],
                track["success"],
            )
    for run in found.journal:
        for email, profile, event in run.users:
            yield f"journal {run.run_id}", email, profile, event


def _strange_ending(ran: RunResult, found: Evidence) -> Iterator[str]:
    if ran.exit_code == -9:
        return
    if ran.exit_code not in EXIT_CODES or "Traceback" in ran.stderr:
        yield f"exit code {ran.exit_code}: {ran.stderr[-2000:]}"
    if "Nothing to" in ran.stdout or not found.journal:
        return
    newest = found.journal[-1]
    all_delivered = all(profile and event for _, profile, event in newest.users)
    expected = {"completed": {0} if all_delivered else {1}, "stopped": {69, 77}}
    if ran.exit_code not in expected.get(newest.status, set()):
        yield f"exit code {ran.exit_code}, but the journal says {newest.status}, {all_delivered=}"


def _all_ended(found: Evidence) -> bool:
    return all(run.status == "completed" for run in found.journal)
