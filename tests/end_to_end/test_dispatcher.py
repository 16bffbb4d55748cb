"""Delivery as a real process: both modes, their limits, their failures, stopping."""

from __future__ import annotations

import resource
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

import pytest

from integration.core.models import CALLS, ENDPOINTS, CallResult, NewRun, Retries
from integration.core.shutdown import Stop
from integration.delivery.dispatcher import Delivery, choose_workers
from integration.delivery.mode import choose_mode
from integration.delivery.sender import Sender
from integration.delivery.stop_reasons import UNREACHABLE, key_refused
from integration.iterable.rate_limit import PUBLISHED_LIMITS, RateLimiter
from integration.journal.queries import count_outcomes
from integration.journal.store import Journal
from sandbox.options import SandboxOptions
from sandbox.process import SandboxProcess
from tests.integration.test_iterable_client import Waits, client_of
from tests.support.journals import pending_users
from tests.support.runs import (
    Customer,
    RunResult,
    database_of,
    environment_for,
    finish,
    pause_at,
    run,
    start,
    wait_until,
)
from tests.support.users import new_user, page_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from integration.core.models import Call, Counts, Mode, PendingUser
    from integration.iterable.bulk import ResultGroup

FOLDERS: dict[Call, str] = {"users_update": "users/", "events_track": "events/"}
KINDS = ("invalid", "forgotten", "typemismatch", "eventrefused", "UPPER")
SECONDS_FOR_ONE_CALL_TOO_MANY = 0.3
UNLIMITED = {"RATE_LIMIT_SHARE": "10000"}


def mixed_emails(count: int, bad_of_each_kind: int) -> list[str]:
    """Emails of this many users, with the bad ones spread among them."""
    emails = [f"user{number}@example.com" for number in range(count)]
    step = count // (bad_of_each_kind * len(KINDS))
    for place in range(bad_of_each_kind * len(KINDS)):
        kind = KINDS[place % len(KINDS)]
        emails[place * step] = bad_email(kind, place)
    return emails


def bad_email(kind: str, number: int) -> str:
    """An email that the sandbox handles as the kind says."""
    if kind == "invalid":
        return f"someone{number}@nowhere.test"
    if kind == "UPPER":
        return f"Forgotten.{number}@Example.COM"
    return f"{kind}{number}@example.com"


def delivered(
    folder: Path,
    sandbox: SandboxProcess,
    emails: Iterable[Customer | str | None],
    *arguments: str,
    **variables: str,
) -> RunResult:
    """A run over these users, without a rate limit unless given."""
    database = database_of(folder / "customers.sqlite", emails)
    environment = environment_for(folder, sandbox, database) | UNLIMITED | variables
    return run(folder, environment, *arguments)


@pytest.mark.parametrize(
    ("wanted", "users", "jwt", "mode"),
    [
        ("auto", 999, False, "single"),
        ("auto", 1000, False, "bulk"),
        ("auto", 5000, True, "single"),
        ("single", 5000, False, "single"),
        ("bulk", 1, False, "bulk"),
        ("bulk", 1, True, "single"),
    ],
)
def test_the_mode_follows_the_option_the_size_and_the_key(
    wanted: str, users: int, jwt: bool, mode: str
) -> None:
    """Bulk from 1,000 users on, and never with JWT."""
    assert choose_mode(wanted, users, jwt=jwt) == mode


@pytest.mark.parametrize(
    ("wanted", "users", "workers"),
    [
        ("auto", 1, 1),
        ("auto", 100, 1),
        ("auto", 101, 64),
        ("auto", 1_000_000, 64),
        (8, 1, 8),
        (8, 1_000_000, 8),
        (1, 1_000_000, 1),
    ],
)
def test_the_number_of_workers_follows_the_option_and_the_size(
    wanted: int | Literal["auto"], users: int, workers: int
) -> None:
    """One for a small run, 64 for a larger one; an explicit number is used for any size."""
    assert choose_workers(wanted, users) == workers


@pytest.mark.parametrize(
    ("users", "arguments", "at_once"),
    [(100, (), 1), (101, (), 64), (100, ("--workers", "8"), 8), (101, ("--workers", "1"), 1)],
)
def test_a_small_run_has_one_user_in_flight(
    tmp_path: Path,
    sandbox: SandboxProcess,
    users: int,
    arguments: tuple[str, ...],
    at_once: int,
) -> None:
    """While the calls after the first user hang, there are calls only for one user per worker."""
    sandbox.faults(
        [
            {"endpoint": "users/update", "kind": "slow", "delay_seconds": 0.0},
            {"endpoint": "users/update", "kind": "hang", "times": users},
        ]
    )
    emails = [f"user{n}@example.com" for n in range(users)]
    database = database_of(tmp_path / "customers.sqlite", emails)
    environment = environment_for(tmp_path, sandbox, database) | UNLIMITED
    process = start(tmp_path, environment | {"REQUEST_TIMEOUT": "600"}, *arguments)
    called = sandbox.calls
    wait_until(process, lambda: len(called()) >= 2 + at_once)
    time.sleep(SECONDS_FOR_ONE_CALL_TOO_MANY)

    calls = called()
    process.kill()
    finish(tmp_path, process)
    assert len(calls) == 2 + at_once
    assert [call["email"] for call in calls[:2]] == [emails[0], emails[0]]
    assert sorted(call["email"] for call in calls[2:]) == sorted(emails[1 : at_once + 1])


def test_every_failure_of_a_bulk_run_is_attributed(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """5,000 users, 7 bad ones of each kind: each is named, no other user is affected."""
    emails = mixed_emails(5000, 7)

    ran = delivered(tmp_path, sandbox, emails)

    results = ran.results
    assert (ran.exit_code, results["mode"], len(results["records"])) == (1, "bulk", 5000)
    records = ran.records
    failed = {email for email, record in records.items() if not record["overall_success"]}
    assert failed == {email for email in emails if not email.startswith("user")}
    for kind, names in NAMES.items():
        assert reasons(records, kind) <= names
    assert len(sandbox.state()["users"]) == 5000 - 4 * 7
    assert len(sandbox.state()["events"]) == 5000 - 5 * 7
    calls = sandbox.stats()["calls"]
    # In less time than single calls would take.
    assert 100 * calls["users/bulkUpdate"] + calls["users/update"] <= 1.2 * 5000
    assert 200 * calls["events/trackBulk"] + calls["events/track"] <= 1.2 * 5000


@pytest.mark.parametrize("mode", ["single", "bulk"])
def test_a_refused_payload_is_in_the_log_file_and_nowhere_else(
    tmp_path: Path, sandbox: SandboxProcess, mode: str
) -> None:
    """Endpoint, email and payload, once for each single or failed call, even with --verbose."""
    bad = ["typemismatch1@example.com", "someone2@nowhere.test", "eventrefused3@example.com"]
    emails = [*(f"user{n}@example.com" for n in range(7)), *bad]

    ran = delivered(tmp_path, sandbox, emails, "--mode", mode, "--verbose")

    log = [line for line in ran.log.splitlines() if " - DEBUG - " in line]
    single_calls = {(one["endpoint"], one["email"]) for one in sandbox.calls()}
    for email, record in ran.records.items():
        for call, folder in FOLDERS.items():
            lines = [line for line in log if f" {folder}" in line and f'"email":"{email}"' in line]
            was_single = (ENDPOINTS[call], email) in single_calls
            failed = not record[call]["success"]
            assert len(lines) == (failed or was_single), (email, call)
            assert all(f"for email: {email}. Payload: " in line for line in lines)
    assert sum(not record["overall_success"] for record in ran.records.values()) == len(bad)
    assert "dataFields" not in ran.stdout + ran.stderr


# What a failure is called in the answer to a bulk call, and to a single one.
NAMES = {
    "invalid": {"invalidEmails", "InvalidEmailAddressError"},
    "forgotten": {"forgottenEmails", "ForgottenUserError"},
    "Forgotten": {"forgottenEmails", "ForgottenUserError"},
    "typemismatch": {"RequestFieldsTypesMismatched"},
    "eventrefused": {"", "invalidEmails", "BadParams"},
}


def reasons(records: dict[str | None, dict[str, Any]], kind: str) -> set[str]:
    """Why the profiles and events of the users of a kind failed; empty where they succeeded."""
    prefix = "someone" if kind == "invalid" else kind
    return {
        reason(record[call])
        for email, record in records.items()
        if email and email.startswith(prefix)
        for call in CALLS
    }


def reason(result: dict[str, Any]) -> str:
    """The list that named a failure, or the code that rejected it."""
    if result["success"]:
        return ""
    response = result["response"]
    return str(next(iter(response.get("failedUpdates", [])), response.get("code")))


def test_both_modes_leave_the_same_in_iterable(tmp_path: Path) -> None:
    """The same users by single and by bulk calls: the same profiles and events, byte for byte."""
    states = []
    database = database_of(tmp_path / "customers.sqlite", mixed_emails(200, 2))
    for mode in ("single", "bulk"):
        folder = tmp_path / mode
        folder.mkdir()
        with SandboxProcess() as sandbox:
            ran = run(
                folder, environment_for(folder, sandbox, database) | UNLIMITED, "--mode", mode
            )
            assert (ran.exit_code, ran.results["mode"]) == (1, mode)
            states.append(sandbox.state())

    assert states[0]["users"] == states[1]["users"]
    assert states[0]["events"] == states[1]["events"]


def calls_while_it_hangs(
    folder: Path, sandbox: SandboxProcess, endpoint: str, users: int
) -> list[dict[str, Any]]:
    """The calls of a bulk run with eight workers, of which the first to this endpoint hangs."""
    sandbox.faults([{"endpoint": endpoint, "kind": "hang", "times": users}])
    emails = [f"user{n}@example.com" for n in range(users)]
    environment = environment_for(folder, sandbox, database_of(folder / "customers.sqlite", emails))
    more = {"REQUEST_TIMEOUT": "600", "MAX_WORKERS": "8"}
    process = start(folder, environment | UNLIMITED | more, "--mode=bulk")
    wait_until(process, lambda: any(call["endpoint"] == endpoint for call in sandbox.calls()))
    time.sleep(SECONDS_FOR_ONE_CALL_TOO_MANY)
    calls = list(sandbox.calls())
    process.kill()
    finish(folder, process)
    return calls


@pytest.mark.parametrize("endpoint", ["users/bulkUpdate", "events/trackBulk"])
def test_a_run_of_bulk_calls_sends_the_first_batch_alone(
    tmp_path: Path, sandbox: SandboxProcess, endpoint: str
) -> None:
    """Until both of its calls are over there is no other: a new field is created by one call."""
    calls = calls_while_it_hangs(tmp_path, sandbox, endpoint, 2500)

    both = [("users/bulkUpdate", 1000), ("events/trackBulk", 1000)]
    expected = both[: 1 if endpoint == "users/bulkUpdate" else 2]
    assert [(call["endpoint"], call["items"]) for call in calls] == expected


def test_a_key_that_may_not_call_bulk_sends_the_first_user_alone(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """One refused bulk call, then one user; no other until that user's calls are over."""
    sandbox.faults([{"endpoint": "users/bulkUpdate", "kind": "status", "status": 401, "times": 99}])

    calls = calls_while_it_hangs(tmp_path, sandbox, "events/track", 2500)

    assert [(call["endpoint"], call["items"]) for call in calls] == [
        ("users/bulkUpdate", 1000),
        ("users/update", 1),
        ("events/track", 1),
    ]
    assert {call["email"] for call in calls[1:]} == {"user0@example.com"}


def test_after_the_first_batch_there_are_whole_batches_profiles_before_events(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """No user is in two calls, or twice in one."""
    delivered(tmp_path, sandbox, (f"user{n}@example.com" for n in range(2500)))

    calls = [(call["endpoint"], call["items"]) for call in sandbox.calls()]
    assert calls[:2] == [("users/bulkUpdate", 1000), ("events/trackBulk", 1000)]
    for endpoint in ("users/bulkUpdate", "events/trackBulk"):
        assert sorted(items for name, items in calls[2:] if name == endpoint) == [500, 1000]
    assert sandbox.stats()["duplicate_users_in_call"] == 0


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_may_not_call_bulk_switches_to_single_calls(tmp_path: Path, status: int) -> None:
    """A warning, one rejected bulk call, and every user is delivered by single calls."""
    with SandboxProcess() as sandbox:
        fault = {"kind": "status", "status": status, "times": 100}
        sandbox.faults([{"endpoint": "users/bulkUpdate", **fault}])
        ran = delivered(tmp_path, sandbox, [f"u{n}@example.com" for n in range(50)], "--mode=bulk")

        assert (ran.exit_code, ran.results["mode"]) == (0, "single")
        assert "may not make bulk calls" in ran.stderr
        assert sandbox.stats()["calls"]["users/bulkUpdate"] == 1
        assert len(sandbox.state()["events"]) == 50


def test_a_bulk_key_refused_in_the_middle_loses_no_user(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Batches in flight when bulk is rejected are sent by single calls too."""
    refusal = {"kind": "status", "status": 403, "times": 100}
    sandbox.faults([{"endpoint": "events/trackBulk", "kind": "slow", "delay_seconds": 0.01}])
    sandbox.faults([{"endpoint": "events/trackBulk", **refusal}])

    ran = delivered(
        tmp_path, sandbox, [f"user{n}@example.com" for n in range(2100)], "--mode", "bulk"
    )

    assert (ran.exit_code, ran.results["successful"]) == (0, 2100)
    assert len(sandbox.state()["events"]) == 2100


def test_a_wrong_key_stops_a_bulk_run_too(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Bulk is rejected, single is rejected: exit code 77 after one user, with one call of each."""
    emails = [f"user{n}@example.com" for n in range(1500)]

    ran = delivered(tmp_path, sandbox, emails, ITERABLE_API_KEY="another-key", MAX_WORKERS="64")

    assert ran.exit_code == 77
    assert ran.results["not_attempted"] == 1499
    assert [call["endpoint"] for call in sandbox.calls()] == ["users/bulkUpdate", "users/update"]


def test_an_unanswered_bulk_call_fails_each_of_its_users(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """A bulk call that fails is the outcome of each of its users, and the run continues."""
    sandbox.faults(
        [
            {"endpoint": "users/bulkUpdate", "kind": "slow", "delay_seconds": 0.01},
            {"endpoint": "users/bulkUpdate", "kind": "html"},
        ]
    )
    emails = [f"user{n}@example.com" for n in range(1030)]

    ran = delivered(tmp_path, sandbox, emails, "--mode", "bulk")

    results = ran.results
    assert (results["successful"], results["total_failures"] + results["partial_failures"]) == (
        1000,
        30,
    )
    failed = [email for email, one in ran.records.items() if not one["overall_success"]]
    assert failed == emails[1000:]
    assert ran.records["user1029@example.com"]["users_update"]["error"] == "invalid_response"


def test_a_server_with_a_lower_limit_loses_no_user(tmp_path: Path) -> None:
    """At a fifth of the limit that the program assumes, it slows down and delivers every user."""
    with SandboxProcess(SandboxOptions(limits=0.2)) as sandbox:
        emails = [f"user{n}@example.com" for n in range(600)]
        ran = delivered(tmp_path, sandbox, emails, RATE_LIMIT_SHARE="1")

        assert (ran.exit_code, ran.results["successful"]) == (0, 600)
        answers = sandbox.stats()["answers"]["users/update"]
        assert answers.get("429", 0) < 0.4 * sum(answers.values())


def test_the_accounting_adds_up_under_random_faults(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Whatever fails, every user is counted once, and users reported delivered are stored."""
    sandbox.rates({"status:503": 0.2, "reset_after": 0.1, "html": 0.1}, seed=7)

    emails = [f"user{n}@example.com" for n in range(60)]
    ran = delivered(tmp_path, sandbox, emails, MAX_ATTEMPTS="2", MAX_WORKERS="8")

    results = ran.results
    parts = ("successful", "partial_failures", "total_failures", "not_attempted", "unchanged")
    assert sum(results[part] for part in parts) == results["total_users"] == 60
    stored = sandbox.state()
    events = {event["email"] for event in stored["events"].values()}
    for email, record in ran.records.items():
        assert not record["users_update"]["success"] or email in stored["users"]
        assert not record["events_track"]["success"] or email in events


class BrokenClient:
    """An Iterable client with a bug that shows at the second user."""

    def send(self, call: Call, user: PendingUser) -> CallResult:
        """Deliver, or fail in a way that no client may."""
        if user.position == 2:
            raise RuntimeError("a bug")
        return CallResult(success=True, response={}, status_code=200, attempts=1, error=None)

    def send_many(self, call: Call, users: Sequence[PendingUser]) -> Iterator[ResultGroup]:
        """Deliver none."""
        raise AssertionError

    def retries(self) -> Retries:
        """No repeats."""
        return Retries()

    def consecutive_failures(self) -> int:
        """Iterable is reachable."""
        return 0

    def last_failure(self) -> None:
        """No call failed."""

    def consecutive_blocked_users(self) -> int:
        """No firewall interferes."""
        return 0


class NoProgress:
    """Shows nothing."""

    def start(self, users: object) -> None:
        """Nothing to show."""

    def call_done(self, done: object) -> None:
        """Nothing to show."""

    def advance(self, users: object, outcomes: object) -> None:
        """Nothing to show."""


def test_a_bug_in_a_worker_ends_the_run_instead_of_hanging_it(tmp_path: Path) -> None:
    """It is raised where it is seen, and what was delivered before is in the journal."""
    client = BrokenClient()
    header = NewRun("run-1", "2026-01-13T14:30:45+00:00", "API Key", "a", "b", dry_run=False)
    with Journal(tmp_path / "journal.db") as journal:
        run_number = journal.begin(header, map(new_user, map(page_view, (1, 2, 3))))
        delivery = Delivery(
            client, journal, run_number, Stop(), NoProgress(), workers=1, mode="single"
        )

        with pytest.raises(RuntimeError, match="a bug"):
            delivery.deliver(pending_users(journal, run_number))

        assert count_outcomes(journal, run_number).successful == 1


def test_many_failures_with_answers_between_them_do_not_stop_a_run(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Twenty consecutive ones mean that Iterable is unreachable; every other one does not."""
    sandbox.rates({"status:503": 0.5}, seed=3)

    ran = delivered(
        tmp_path, sandbox, [f"user{n}@example.com" for n in range(120)], MAX_ATTEMPTS="1"
    )

    assert (ran.exit_code, ran.results["status"]) == (1, "completed")
    assert sum(sandbox.stats()["faults"].values()) > 60


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_a_signal_ends_the_run_with_its_files_written(
    tmp_path: Path, sandbox: SandboxProcess, number: signal.Signals, exit_code: int
) -> None:
    """Calls in flight finish, no new ones start; the results say which users were not attempted."""
    emails = [f"user{n}@example.com" for n in range(500)]
    database = database_of(tmp_path / "customers.sqlite", emails)
    environment = environment_for(tmp_path, sandbox, database) | {"MAX_WORKERS": "4"}
    under_way = {"endpoint": "users/update", "email": emails[21]}
    sandbox.faults([{**under_way, "kind": "slow", "delay_seconds": 1}])
    has_paused = pause_at(sandbox, emails[20])
    process = start(tmp_path, environment)
    wait_until(process, has_paused)
    process.send_signal(number)
    ran = finish(tmp_path, process)

    assert ran.exit_code == exit_code
    results = ran.results
    assert (results["status"], len(results["records"])) == ("interrupted", 500)
    assert 0 < results["successful"] < 500
    assert results["not_attempted"] > 300
    assert ran.records[emails[21]]["users_update"]["success"]
    stored = sandbox.state()
    assert len(stored["users"]) == 500 - results["not_attempted"]


@pytest.mark.parametrize(("mode", "share"), [("single", "0.02"), ("bulk", "0.1")])
def test_a_user_waiting_for_the_rate_limit_when_the_run_stops_is_not_attempted(
    tmp_path: Path, sandbox: SandboxProcess, mode: str, share: str
) -> None:
    """Assigned to a worker but never sent is not a failure."""
    emails = [f"user{n}@example.com" for n in range(6000)]
    database = database_of(tmp_path / "customers.sqlite", emails)
    environment = environment_for(tmp_path, sandbox, database) | {"RATE_LIMIT_SHARE": share}
    process = start(tmp_path, environment, "--mode", mode)
    # The first user or batch alone, then the next: they would end half a minute later.
    wait_until(process, lambda: len(sandbox.calls()) >= 3)
    process.send_signal(signal.SIGTERM)

    ran = finish(tmp_path, process)

    results = ran.results
    assert (ran.exit_code, results["total_failures"]) == (143, 0)
    assert results["not_attempted"] == 6000 - len(sandbox.state()["users"]) > 0


# A batch of 1,000 with a bad user in its second half.
HALVED = [
    *(f"user{number}@example.com" for number in range(900)),
    "typemismatch@example.com",
    *(f"user{number}@example.com" for number in range(900, 999)),
]


def refuse_after_the_first_half(sandbox: SandboxProcess, *endpoints: str) -> None:
    """Make a batch fail so that it is halved; from then on these endpoints reject the key."""
    whole_and_first_half = {"kind": "slow", "delay_seconds": 0.0, "times": 2}
    sandbox.faults([{"endpoint": "users/bulkUpdate", **whole_and_first_half}])
    refusal = {"kind": "status", "status": 401, "times": 1000}
    sandbox.faults([{"endpoint": endpoint, **refusal} for endpoint in endpoints])


def test_a_bulk_key_refused_between_two_halves_repeats_no_user(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """The profiles of the delivered half are recorded; their events are still to be sent."""
    refuse_after_the_first_half(sandbox, "users/bulkUpdate")

    ran = delivered(tmp_path, sandbox, HALVED, "--mode=bulk", REQUEST_TIMEOUT="60")

    single = [call for call in sandbox.calls() if call["endpoint"] == "users/update"]
    assert sorted(call["email"] for call in single) == sorted(HALVED[500:])
    assert (ran.results["successful"], ran.results["total_failures"]) == (999, 1)
    assert len(sandbox.state()["events"]) == 999


def test_a_success_stays_a_success_when_the_key_is_refused_later(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """The acknowledged half is not sent again, so nothing overwrites its outcome."""
    refuse_after_the_first_half(sandbox, "users/bulkUpdate", "users/update")

    ran = delivered(tmp_path, sandbox, HALVED, "--mode=bulk", REQUEST_TIMEOUT="60")

    assert ran.exit_code == 77
    succeeded = {email for email, one in ran.records.items() if one["users_update"]["success"]}
    assert succeeded == set(sandbox.state()["users"])
    assert succeeded == set(HALVED[:500])


class OvertakenSender(Sender):
    """While a worker reads the mode to change it, another worker does the same."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.other: threading.Thread | None = None
        super().__init__(*arguments, **options)

    @property
    def mode(self) -> Mode:
        """The mode, as it was before the other worker changed it."""
        mode = self._mode
        if self.other is None:
            self.other = threading.Thread(target=self._fall_back_to_single)
            self.other.start()
            self.other.join(0.3)
        return mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode


def test_workers_that_are_refused_together_warn_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each of them learns that the key may not call bulk; the operator learns it once."""
    sender = OvertakenSender(BrokenClient(), Stop(), "bulk")
    sender._fall_back_to_single()
    assert sender.other is not None
    sender.other.join()

    assert [one.getMessage() for one in caplog.records if "bulk calls" in one.getMessage()] == [
        "This key may not make bulk calls: continuing with single calls"
    ]


@pytest.mark.parametrize(
    ("code", "settings"),
    [
        ("BadApiKey", "ITERABLE_API_KEY and ITERABLE_API_BASE_URL"),
        ("Forbidden", "ITERABLE_API_KEY and ITERABLE_API_BASE_URL"),
        (None, "ITERABLE_API_KEY and ITERABLE_API_BASE_URL"),
        ("InvalidJwtPayload", "ITERABLE_JWT_SECRET"),
        ("JwtUserIdentifiersMismatched", "ITERABLE_JWT_SECRET"),
        ("BadAuthorizationHeader", "USE_JWT_AUTH and ITERABLE_JWT_SECRET"),
    ],
)
def test_a_refused_key_says_which_settings_may_be_wrong(code: str | None, settings: str) -> None:
    """A rejected token does not mean that the key is wrong."""
    assert key_refused(code).text == f"Iterable refused the API key: check {settings}"


def test_the_stop_reason_follows_iterables_code(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """The operator sees the code of the answer."""
    body = {"msg": "JWT: wrong signature", "code": "InvalidJwtPayload", "params": None}
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 401, "body": body}])

    ran = delivered(tmp_path, sandbox, ["a@example.com"], REQUEST_TIMEOUT="60")

    reason = "Iterable refused the API key: check ITERABLE_JWT_SECRET"
    assert (ran.exit_code, ran.results["stop_reason"]) == (77, reason)
    assert reason in ran.stderr


def test_an_unreachable_iterable_says_what_to_check() -> None:
    """The cause is rarely Iterable itself."""
    assert UNREACHABLE.text == (
        "Iterable is unreachable: 20 consecutive calls exhausted their attempts;"
        " check the network, the proxy and ITERABLE_API_BASE_URL"
    )


def test_an_api_key_in_place_of_the_jwt_secret_is_a_settings_error(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """No run starts: one line says what is needed."""
    jwt = {"USE_JWT_AUTH": "true", "ITERABLE_JWT_SECRET": "ssh-rsa AAAAB3Nza"}

    ran = delivered(tmp_path, sandbox, ["a@example.com"], **jwt)

    assert ran.exit_code == 78
    assert ran.stderr.splitlines()[-1].endswith(
        "ITERABLE_JWT_SECRET is a public or private key or a certificate:"
        " HS256 needs the shared secret of the JWT key"
    )
    assert "Traceback" not in ran.stderr
    assert "AAAAB3Nza" not in ran.stderr + ran.log
    assert sandbox.calls() == []
    assert not (tmp_path / "iterable_journal.db").exists()


@pytest.mark.parametrize("bad_of_four", [4, 1], ids=["all", "one in four"])
def test_a_batch_of_bad_users_is_not_halved_to_the_end(
    tmp_path: Path, sandbox: SandboxProcess, bad_of_four: int
) -> None:
    """Each bulk call takes the time of 100 or 200 single ones: two rejections are enough."""
    emails = [
        f"{'typemismatch' if number % 4 < bad_of_four else 'user'}{number}@example.com"
        for number in range(1001)
    ]

    ran = delivered(tmp_path, sandbox, emails, "--mode=bulk")

    calls = sandbox.stats()["calls"]
    bad = sum(email.startswith("typemismatch") for email in emails)
    assert (ran.exit_code, ran.results["mode"]) == (1, "bulk")
    assert (ran.results["successful"], ran.results["total_failures"]) == (1001 - bad, bad)
    assert calls == {"users/bulkUpdate": 2, "users/update": 1001, "events/track": 1001}


def firewalled(count: int, *places: int) -> list[str]:
    """Emails of this many users; a firewall rejects the calls of those at these places."""
    return [f"{'firewalled' if n in places else 'user'}{n}@example.com" for n in range(count)]


@pytest.mark.parametrize(("mode", "users"), [("single", 60), ("bulk", 60), ("bulk", 1200)], ids=str)
@pytest.mark.parametrize("place", [0, 40])
def test_a_user_blocked_by_a_firewall_fails_alone(
    tmp_path: Path, sandbox: SandboxProcess, mode: str, users: int, place: int
) -> None:
    """A 403 without Iterable's own JSON does not mean a wrong key: the others are delivered."""
    ran = delivered(tmp_path, sandbox, firewalled(users, place), "--mode", mode)

    results = ran.results
    assert (ran.exit_code, results["status"], results["mode"]) == (1, "completed", mode)
    assert (results["successful"], results["total_failures"]) == (users - 1, 1)
    refused = ran.records[f"firewalled{place}@example.com"]
    assert {(refused[call]["error"], refused[call]["status_code"]) for call in CALLS} == {
        ("client_error", 403)
    }
    assert "bulk calls" not in ran.stderr


@pytest.mark.parametrize("mode", ["single", "bulk"])
def test_a_resumed_run_gets_past_a_user_blocked_by_a_firewall(
    tmp_path: Path, sandbox: SandboxProcess, mode: str
) -> None:
    """Its first pending user is the blocked one, and this process has had no success yet."""
    emails = firewalled(40, 0)
    refusal = {"kind": "status", "status": 401, "times": 1}
    sandbox.faults([{"endpoint": "users/update", "email": emails[-1], **refusal}])
    stopped = delivered(tmp_path, sandbox, emails, "--mode=single", MAX_WORKERS="1")
    assert (stopped.exit_code, stopped.results["successful"]) == (77, 38)
    environment = environment_for(tmp_path, sandbox, tmp_path / "customers.sqlite") | UNLIMITED

    ran = run(tmp_path, environment, "--resume", "--mode", mode)

    assert (ran.exit_code, ran.results["status"]) == (1, "completed")
    assert (ran.results["successful"], ran.results["total_failures"]) == (39, 1)


@pytest.mark.parametrize(
    ("mode", "users", "workers"),
    [("single", 50, "1"), ("single", 50, "8"), ("bulk", 50, "8"), ("bulk", 1200, "64")],
)
def test_three_consecutive_refused_users_stop_the_run(
    tmp_path: Path, sandbox: SandboxProcess, mode: str, users: int, workers: str
) -> None:
    """No call succeeded, so the records are not the cause. Three are tried, one after the other."""
    emails = firewalled(users, *range(users))

    ran = delivered(tmp_path, sandbox, emails, "--mode", mode, MAX_WORKERS=workers)

    results = ran.results
    assert (ran.exit_code, results["status"]) == (77, "stopped")
    assert (results["total_failures"], results["not_attempted"]) == (3, users - 3)
    assert {call["email"] for call in sandbox.calls() if call["email"]} == set(emails[:3])
    assert results["stop_reason"] == (
        "3 consecutive users were refused with status 403, but not by Iterable itself: check the"
        " firewall or proxy in between, then ITERABLE_API_BASE_URL and ITERABLE_API_KEY"
    )


def test_blocked_users_with_a_success_between_them_do_not_stop_the_run(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Only three consecutive ones do."""
    emails = firewalled(20, 3, 4, 6, 7, 9, 10)

    ran = delivered(tmp_path, sandbox, emails, "--mode=single", MAX_WORKERS="1")

    assert (ran.exit_code, ran.results["successful"]) == (1, 14)


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (429, "The account is rate limited: 20 consecutive calls"),
        (503, "Iterable is unreachable: 20 consecutive calls"),
    ],
)
def test_a_throttled_account_is_not_called_unreachable(
    tmp_path: Path, sandbox: SandboxProcess, last: int, text: str
) -> None:
    """The error of the last of the failed calls decides the message."""
    fault = {"endpoint": "*", "kind": "status"}
    sandbox.faults([{**fault, "status": 503, "times": 15}, {**fault, "status": last, "times": 99}])
    stop = Stop()
    header = NewRun("run-1", "2026-01-13T14:30:45+00:00", "API Key", "a", "b", dry_run=False)
    with (
        Journal(tmp_path / "journal.db") as journal,
        client_of(sandbox, Waits(), max_attempts=1) as client,
    ):
        no_hold = RateLimiter(1e6, stopping=stop.requested)
        no_hold.slow_down = lambda *_: None  # type: ignore[method-assign]
        client._limiters = dict.fromkeys(PUBLISHED_LIMITS, no_hold)
        run_number = journal.begin(header, map(new_user, map(page_view, range(1, 31))))
        delivery = Delivery(
            client, journal, run_number, stop, NoProgress(), workers=1, mode="single"
        )

        delivery.deliver(pending_users(journal, run_number))

    assert stop.reason is not None
    assert stop.reason.text.startswith(text)
    assert stop.reason.exit_code == 69
    assert ("RATE_LIMIT_SHARE" in stop.reason.text) is (last == 429)


def start_up_to(limit: int) -> Callable[[threading.Thread], None]:
    """`threading.Thread.start` on a machine that lets only this many more threads start."""
    allowed = iter(range(limit))
    really_start = threading.Thread.start

    def start_thread(thread: threading.Thread) -> None:
        if next(allowed, None) is None:
            raise RuntimeError("can't start new thread")
        really_start(thread)

    return start_thread


def sent_with_threads(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int, sandbox: SandboxProcess
) -> tuple[Counts, Stop]:
    """A run of 30 users with 8 workers, on a machine that lets only so many threads start."""
    monkeypatch.setattr(threading.Thread, "start", start_up_to(limit))
    stop = Stop()
    header = NewRun("run-1", "2026-01-13T14:30:45+00:00", "API Key", "a", "b", dry_run=False)
    with Journal(folder / "journal.db") as journal, client_of(sandbox, Waits()) as client:
        number = journal.begin(header, map(new_user, map(page_view, range(1, 31))))
        delivery = Delivery(client, journal, number, stop, NoProgress(), workers=8, mode="single")
        delivery.deliver(pending_users(journal, number))
        return count_outcomes(journal, number), stop


@pytest.mark.parametrize("limit", [1, 3])
def test_a_run_continues_with_the_threads_that_can_be_started(
    tmp_path: Path,
    sandbox: SandboxProcess,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limit: int,
) -> None:
    """One worker can deliver everything; the operator is told once that it is slower."""
    counts, stop = sent_with_threads(tmp_path, monkeypatch, limit, sandbox)

    assert (counts.successful, stop.reason) == (30, None)
    assert [one.getMessage() for one in caplog.records if "thread" in one.getMessage()] == [
        (
            f"No more than {limit} of 8 worker threads can be started: continuing with {limit}."
            " Raise the limit of processes and threads (ulimit -u, TasksMax, pids.max) or lower"
            " MAX_WORKERS"
        )
    ]


def test_a_run_without_any_thread_stops_with_a_line_that_says_what_to_do(
    tmp_path: Path, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No user is attempted, so --resume delivers them all."""
    counts, stop = sent_with_threads(tmp_path, monkeypatch, 0, sandbox)

    assert counts.not_attempted == 30
    assert stop.reason is not None
    assert stop.reason.exit_code == 78
    assert stop.reason.text == (
        "No worker thread can be started: raise the limit of processes and threads"
        " (ulimit -u, TasksMax, pids.max)"
    )


@pytest.mark.parametrize(("stacks", "exit_code"), [(4, 0), (0, 78)], ids=["some", "none"])
def test_a_process_that_may_start_few_threads_delivers_or_says_why_not(
    tmp_path: Path, sandbox: SandboxProcess, stacks: int, exit_code: int
) -> None:
    """Each thread needs 4 GB for its stack, and the address space holds only a few of them."""
    database = database_of(tmp_path / "customers.sqlite", [f"u{n}@a.de" for n in range(120)])
    environment = environment_for(tmp_path, sandbox, database) | UNLIMITED

    def limit_threads() -> None:
        stack, program = 4 << 30, 2 << 30
        resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))
        resource.setrlimit(resource.RLIMIT_AS, (program + stacks * stack,) * 2)

    ran = finish(tmp_path, start(tmp_path, environment, preexec_fn=limit_threads))

    assert ran.exit_code == exit_code
    assert "Traceback" not in ran.stderr
    assert "ulimit -u" in ran.stderr
    assert ran.results["successful"] == (120 if exit_code == 0 else 0)
