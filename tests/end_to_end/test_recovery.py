"""After a run: resume, retry, incremental, status, verify; as real processes."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import requests

from integration.core.models import Retries
from integration.journal.store import Journal
from sandbox.options import SandboxOptions
from sandbox.process import SandboxProcess
from tests.support.fault_matrix import calls_in_doubt, repeats
from tests.support.journals import AT, FAILED
from tests.support.runs import (
    RunResult,
    database_of,
    environment_for,
    finish,
    has_logged,
    pause_at,
    run,
    start,
    suspended,
    wait_until,
)

if TYPE_CHECKING:
    from pathlib import Path

EMAILS = [f"user{number}@example.com" for number in range(40)]


@pytest.fixture
def variables(tmp_path: Path, sandbox: SandboxProcess) -> dict[str, str]:
    """A configuration with forty users and no rate limit."""
    database = database_of(tmp_path / "customers.sqlite", EMAILS)
    return environment_for(tmp_path, sandbox, database) | {"RATE_LIMIT_SHARE": "10000"}


def execute(folder: Path, statement: str) -> None:
    """Change the customers' database."""
    with closing(sqlite3.connect(folder / "customers.sqlite")) as database, database:
        database.execute(statement)


def all_results(folder: Path) -> list[dict[str, Any]]:
    """The results files, oldest first."""
    paths = sorted(folder.glob("integration_results_*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def refuse_all_users(sandbox: SandboxProcess) -> None:
    """Make the next run stop at its first user."""
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 401}])


def failed_for(sandbox: SandboxProcess, email: str, folder: Path, **more: str) -> RunResult:
    """A run in which one user's event fails."""
    sandbox.faults([{"endpoint": "events/track", "email": email, "kind": "html"}])
    database = folder / "customers.sqlite"
    return run(folder, environment_for(folder, sandbox, database) | more)


def test_a_stopped_run_can_be_resumed(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """The same run id, one CSV, one results file, every user delivered."""
    refuse_all_users(sandbox)
    stopped = run(tmp_path, variables)
    first = stopped.results

    ran = run(tmp_path, variables, "--resume")

    assert (stopped.exit_code, ran.exit_code) == (77, 0)
    results = ran.results
    assert results["run_id"] == first["run_id"]
    assert (results["status"], results["stop_reason"]) == ("completed", None)
    assert (results["successful"], len(results["records"])) == (40, 40)
    assert f"Resuming run {first['run_id']}: 40 of 40 user(s) are pending" in ran.stdout
    assert len(list(tmp_path.glob("query_results_*.csv"))) == 1
    assert "The CSV already exists: query_results_" in ran.stdout


def test_a_killed_run_is_gone_on_with(tmp_path: Path) -> None:
    """Kill -9 in the middle: only pending users are sent again, and no event is there twice."""
    emails = [f"user{number}@example.com" for number in range(200)]
    database = database_of(tmp_path / "customers.sqlite", emails)
    latency = 0.05
    with SandboxProcess(SandboxOptions(latency=latency)) as sandbox:
        environment = environment_for(tmp_path, sandbox, database) | {"MAX_WORKERS": "4"}
        has_paused = pause_at(sandbox, emails[100])
        process = start(tmp_path, environment)
        wait_until(process, has_paused)
        process.send_signal(signal.SIGKILL)
        finish(tmp_path, process)
        in_doubt = len(calls_in_doubt(sandbox, latency))
        sandbox.configure(latency=0)

        ran = run(tmp_path, environment, "--resume")

        assert ran.exit_code == 0
        assert (ran.results["successful"], len(ran.results["records"])) == (200, 200)
        state = sandbox.state()
        assert (len(state["users"]), len(state["events"])) == (200, 200)
        assert repeats(state["users"]) + repeats(state["events"]) <= in_doubt < 150


def test_nothing_to_resume_is_a_success(tmp_path: Path, variables: dict[str, str]) -> None:
    """A cron job may always use the option."""
    run(tmp_path, variables)

    ran = run(tmp_path, variables, "--resume")

    assert (ran.exit_code, len(all_results(tmp_path))) == (0, 1)
    assert "Nothing to resume" in ran.stdout


def test_a_new_run_says_that_an_earlier_one_did_not_finish(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """It names the option, and supersedes the other run."""
    refuse_all_users(sandbox)
    run(tmp_path, variables)

    ran = run(tmp_path, variables)

    assert ran.exit_code == 0
    assert "did not finish: 40 user(s) are pending. --resume resumes it" in ran.stderr
    assert "Nothing to resume" in run(tmp_path, variables, "--resume").stdout


def test_only_failed_users_are_retried(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """One pending call of one user is one call."""
    assert failed_for(sandbox, "user7@example.com", tmp_path).exit_code == 1
    before = len(sandbox.calls())

    ran = run(tmp_path, variables, "--retry-failed")

    assert ran.exit_code == 0
    assert [call["email"] for call in sandbox.calls()[before:]] == ["user7@example.com"]
    first, retried = all_results(tmp_path)
    assert retried["run_id"] != first["run_id"]
    (record,) = retried["records"]
    assert (record["email"], record["overall_success"]) == ("user7@example.com", True)
    assert "Nothing to retry" in run(tmp_path, variables, "--retry-failed").stdout


def test_after_a_kill_retry_failed_asks_for_resume_first(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """No run has finished, but users are pending: that is not nothing."""
    has_paused = pause_at(sandbox, EMAILS[5])
    process = start(tmp_path, variables)
    wait_until(process, has_paused)
    process.kill()
    finish(tmp_path, process)

    ran = run(tmp_path, variables, "--retry-failed")

    assert (ran.exit_code, len(all_results(tmp_path))) == (1, 0)
    assert "Run --resume first, then --retry-failed" in ran.stderr


def test_a_pending_user_who_left_the_list_is_not_forgotten(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """A later full run has all other users: --status still reports the one, --resume sends it."""
    refuse_all_users(sandbox)
    run(tmp_path, variables)
    execute(tmp_path, "DELETE FROM page_views WHERE user_id = 40")
    assert "starting a new run" in run(tmp_path, variables).stderr

    status = run(tmp_path, variables, "--status").stdout
    ran = run(tmp_path, variables, "--resume")

    assert "did not finish: 1 user(s) are pending: python main.py --resume" in status
    assert ran.exit_code == 0
    resumed = all_results(tmp_path)[0]
    assert (resumed["successful"], resumed["unchanged"]) == (1, 39)
    assert len(sandbox.state()["users"]) == 40
    assert "No users are pending." in run(tmp_path, variables, "--status").stdout


def test_a_wrong_key_is_forgotten_once_the_right_one_has_sent_all_users(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """No users are pending, and the next runs have nothing to warn of."""
    assert run(tmp_path, variables | {"ITERABLE_API_KEY": "wrong-key"}).exit_code == 77

    first = run(tmp_path, variables)
    second = run(tmp_path, variables)

    assert "starting a new run" in first.stderr
    assert second.stderr == ""
    assert "No users are pending." in run(tmp_path, variables, "--status").stdout


def test_a_bulk_retry_makes_only_the_pending_calls(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Profiles that are already stored are not sent again."""
    sandbox.faults([{"endpoint": "events/trackBulk", "kind": "html"}])
    assert run(tmp_path, variables, "--mode", "bulk").exit_code == 1
    before = len(sandbox.calls())

    ran = run(tmp_path, variables, "--mode", "bulk", "--retry-failed")

    assert ran.exit_code == 0
    assert {call["endpoint"] for call in sandbox.calls()[before:]} == {"events/trackBulk"}
    assert len(sandbox.state()["events"]) == 40


def test_an_incremental_run_sends_what_changed(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Nothing the second time; then one changed plan and one new view: two users."""
    run(tmp_path, variables, "--incremental")
    before = len(sandbox.calls())

    retry = run(tmp_path, variables, "--incremental")

    assert (retry.exit_code, len(sandbox.calls())) == (0, before)
    assert "Unchanged: 40" in retry.stdout
    assert all_results(tmp_path)[-1]["unchanged"] == 40
    execute(tmp_path, "UPDATE customers SET first_name = 'Grace' WHERE id = 3")
    execute(tmp_path, "UPDATE page_views SET page = 'settings' WHERE user_id = 5")

    run(tmp_path, variables, "--incremental")

    assert {call["email"] for call in sandbox.calls()[before:]} == {EMAILS[2], EMAILS[4]}
    results = all_results(tmp_path)[-1]
    assert (results["successful"], results["unchanged"], results["total_users"]) == (2, 38, 40)


def test_unchanged_users_are_exported_and_verified(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """The run sent them nothing, but its list has them, and Iterable has what it would send."""
    run(tmp_path, variables)
    (first,) = csv_texts(tmp_path)

    ran = run(tmp_path, variables, "--incremental")

    assert "Unchanged: 40" in ran.stdout
    assert csv_texts(tmp_path) == [first, first]
    verified = run(tmp_path, variables, "--verify", "all")
    assert (verified.exit_code, verified.stderr) == (0, "")
    assert "Verified 40 user(s): 40 confirmed" in verified.stdout


def test_a_csv_that_is_missing_is_written_again_from_the_journal(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """A resumed run has all its users in it, a retry only those that it sends."""
    execute(tmp_path, "UPDATE customers SET last_name = '=1+1, \"x\"' WHERE id = 3")
    refusal = {"kind": "status", "status": 400, "times": 1}
    sandbox.faults([{"endpoint": "users/update", "email": EMAILS[2], **refusal}])
    stopper = {"kind": "status", "status": 401, "times": 1}
    sandbox.faults([{"endpoint": "users/update", "email": EMAILS[30], **stopper}])
    assert run(tmp_path, variables | {"MAX_WORKERS": "1"}).exit_code == 77
    (whole,) = csv_texts(tmp_path)
    for path in tmp_path.glob("query_results_*.csv"):
        path.unlink()
    sandbox.faults([{"endpoint": "events/track", "email": EMAILS[35], **refusal}])

    assert run(tmp_path, variables, "--resume").exit_code == 1
    assert csv_texts(tmp_path) == [whole]
    assert run(tmp_path, variables, "--retry-failed").exit_code == 0

    header, *lines = whole.splitlines(keepends=True)
    assert csv_texts(tmp_path) == [whole, header + lines[35]]
    assert "'=1+1" in lines[2]


def csv_texts(folder: Path) -> list[str]:
    """The CSV files, in the order of their runs."""
    paths = sorted(folder.glob("query_results_*.csv"))
    return [path.read_bytes().decode() for path in paths]


def test_a_dry_incremental_run_knows_what_is_unchanged(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """It reads a copy of the journal, and changes nothing in the original."""
    run(tmp_path, variables)
    execute(tmp_path, "UPDATE customers SET first_name = 'Grace' WHERE id = 3")

    for _ in range(2):
        ran = run(tmp_path, variables, "--incremental", "--dry-run")

        assert ran.stdout.count("Would send users/update") == 1
        assert "Unchanged: 39" in ran.stdout


def test_a_second_concurrent_run_sends_nothing(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """The lock reports it immediately, with exit code 75, and is released with its process."""
    variables |= {"MAX_WORKERS": "1"}
    has_paused = pause_at(sandbox, EMAILS[5])
    first = start(tmp_path, variables)
    wait_until(first, has_paused)
    before = len(sandbox.calls())

    second = run(tmp_path, variables)
    first_is_going_on = first.poll() is None
    sent = len(sandbox.calls()) - before

    first.send_signal(signal.SIGKILL)
    finish(tmp_path, first)
    third = run(tmp_path, variables)

    assert (second.exit_code, sent) == (75, 0)
    assert "Another run holds" in second.stderr
    assert first_is_going_on
    assert third.exit_code == 0


def test_status_shows_what_is_pending_and_what_to_do(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Before any run, after a stopped one, after a failed user, and when all is delivered."""
    assert "there has been no run yet" in run(tmp_path, variables, "--status").stdout
    refuse_all_users(sandbox)
    run(tmp_path, variables)
    stopped = run(tmp_path, variables, "--status").stdout
    failed_for(sandbox, "user7@example.com", tmp_path)
    failed = run(tmp_path, variables, "--status").stdout
    run(tmp_path, variables, "--retry-failed")
    well = run(tmp_path, variables, "--status").stdout

    assert stopped.startswith("Unhealthy: The delivery of ")
    assert "Iterable refused the API key. Next: check ITERABLE_API_KEY" in stopped.splitlines()[0]
    assert "did not finish: 40 user(s) are pending: python main.py --resume" in stopped
    assert failed.splitlines()[0].endswith(" not delivered. Next: python main.py --retry-failed")
    assert well.startswith("Healthy: All is well; no users of the last delivery are pending (")
    assert " were not delivered: python main.py --retry-failed" in failed
    assert well.rstrip().endswith("No users are pending.")
    assert [line.split()[3] for line in well.splitlines()[3:6]] == [
        "completed",
        "completed",
        "stopped",
    ]


def test_status_distinguishes_a_running_run_from_a_crashed_one(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """By the lock, which only a living process holds."""
    has_paused = pause_at(sandbox, EMAILS[5])
    process = start(tmp_path, variables)
    wait_until(process, has_paused)
    running = run(tmp_path, variables, "--status").stdout
    process.send_signal(signal.SIGKILL)
    finish(tmp_path, process)
    dead = run(tmp_path, variables, "--status").stdout

    assert " running " in running
    well = r"Healthy: All is well; a delivery is in progress: \d of 40 users so far\.\n"
    assert re.match(well, running)
    assert "A run is in progress." in running
    killed = (
        r"Unhealthy: The delivery of .* was killed, with \d\d users pending\. Next: .* --resume\n"
    )
    assert re.match(killed, dead)
    assert " crashed " in dead
    assert "--resume" in dead


def test_verify_confirms_what_iterable_has(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """All users, or only as many as requested."""
    run(tmp_path, variables)

    some = run(tmp_path, variables, "--verify", "10")
    everyone = run(tmp_path, variables, "--verify", "all")

    assert (some.exit_code, everyone.exit_code) == (0, 0)
    assert "Verified 10 user(s): 10 confirmed, 0 not confirmed, 0 not read" in some.stdout
    assert "Verified 40 user(s): 40 confirmed" in everyone.stdout


def test_verify_names_the_user_and_the_differing_field(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """A profile changed by someone else, checked a day after the delivery."""
    run(tmp_path, variables)
    sandbox.overwrite("user7@example.com", {"plan_type": "free"})
    delivered_long_ago(tmp_path)

    ran = run(tmp_path, variables, "--verify", "all")

    assert ran.exit_code == 1
    (line,) = ran.stderr.splitlines()
    assert line.endswith("Not confirmed: user7@example.com: profile plan_type")
    assert "39 confirmed, 1 not confirmed" in ran.stdout


def test_verify_names_an_event_that_differs(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """A correct profile does not compensate for a wrong event."""
    run(tmp_path, variables)
    delivered_long_ago(tmp_path)
    event = track(sandbox, event_of(sandbox, EMAILS[7]), page="blog")

    ran = run(tmp_path, variables, "--verify", "all")

    assert (ran.exit_code, event["page"]) == (1, "blog")
    (line,) = ran.stderr.splitlines()
    assert line.endswith("Not confirmed: user7@example.com: event page")


def test_verify_does_not_call_an_event_missing_that_it_cannot_see(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Iterable returns 200 events of a user: an older one is neither confirmed nor missing."""
    run(tmp_path, variables, "--limit", "2")
    delivered_long_ago(tmp_path)
    sent = event_of(sandbox, EMAILS[0])
    for number in range(1, 201):
        newer = {"id": f"newer-{number}", "createdAt": sent["createdAt"] + number}
        track(sandbox, sent | newer, timestamp=str(number))

    ran = run(tmp_path, variables, "--verify")

    assert ran.exit_code == 0
    (line,) = ran.stderr.splitlines()
    assert " - WARNING - Not checked: user0@example.com: " in line
    assert line.endswith("the event is older than the 200 that Iterable returns")
    assert (
        "Verified 2 user(s): 1 confirmed, 0 not confirmed, 0 not read, 1 not checked" in ran.stdout
    )


def event_of(sandbox: SandboxProcess, email: str) -> dict[str, Any]:
    """A user's event as Iterable has stored it."""
    events = sandbox.state()["events"].items()
    ((event_id, event),) = ((i, one) for i, one in events if one["email"] == email)
    return dict(event) | {"id": event_id}


def track(sandbox: SandboxProcess, event: dict[str, Any], **fields: object) -> dict[str, Any]:
    """Send an event without the program, with other fields; returns the stored fields."""
    sent = {name: event[name] for name in ("email", "eventName", "id", "createdAt")}
    data = event["dataFields"] | fields
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"{sandbox.url}/api/events/track",
            json=sent | {"dataFields": data},
            headers={"Api-Key": sandbox.options.api_key},
            timeout=30,
        )
    assert answer.status_code == 200, answer.text
    return dict(sandbox.state()["events"][event["id"]]["dataFields"])


def delivered_long_ago(folder: Path) -> None:
    """Backdate the journal, so that Iterable has had its time to process."""
    with closing(sqlite3.connect(folder / "iterable_journal.db")) as journal, journal:
        journal.execute("UPDATE outcomes SET at = '2026-01-13T14:30:45.000000+00:00'")


def test_verify_needs_a_key_that_may_read(tmp_path: Path) -> None:
    """A JWT key may not: one line, exit code 77."""
    secret = "a-jwt-secret-of-thirty-two-bytes!"
    database = database_of(tmp_path / "customers.sqlite", EMAILS[:3])
    with SandboxProcess(SandboxOptions(jwt_secret=secret)) as sandbox:
        environment = environment_for(tmp_path, sandbox, database)
        environment |= {"USE_JWT_AUTH": "true", "ITERABLE_JWT_SECRET": secret}
        run(tmp_path, environment)

        ran = run(tmp_path, environment, "--verify")

    assert ran.exit_code == 77
    assert "Iterable denied read access: --verify needs a server-side API key" in ran.stderr


def interrupt(folder: Path, sandbox: SandboxProcess, variables: dict[str, str], at: str) -> None:
    """Start a run and end it with SIGTERM at this user's event."""
    has_paused = pause_at(sandbox, at)
    process = start(folder, variables | {"MAX_WORKERS": "4"})
    wait_until(process, has_paused)
    process.send_signal(signal.SIGTERM)
    assert finish(folder, process).exit_code == 143


def test_a_run_whose_results_could_not_be_written_is_found_by_resume(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Every user is delivered, the file is missing: --resume writes it."""
    folder = tmp_path / "out"
    variables |= {"OUTPUT_DIR": str(folder), "REQUEST_TIMEOUT": "60"}
    with suspended(sandbox):
        process = start(tmp_path, variables)
        wait_until(process, lambda: has_logged(tmp_path, "[STEP 5]"))
        folder.rename(tmp_path / "moved")
        folder.touch()  # a folder that is merely missing would be recreated
    ran = finish(tmp_path, process)
    folder.unlink()
    (tmp_path / "moved").rename(folder)

    resumed = run(tmp_path, variables, "--resume")

    assert (ran.exit_code, resumed.exit_code) == (78, 0)
    assert len(sandbox.calls()) == 80
    (results,) = all_results(folder)
    assert (results["status"], results["successful"]) == ("completed", 40)


def test_a_retry_takes_over_the_pending_users_of_an_interrupted_run(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """No users are pending afterwards, and nothing is left to resume."""
    interrupt(tmp_path, sandbox, variables, at=EMAILS[5])

    assert run(tmp_path, variables, "--retry-failed").exit_code == 0

    assert "No users are pending" in run(tmp_path, variables, "--status").stdout
    before = len(sandbox.calls())
    assert "Nothing to resume" in run(tmp_path, variables, "--resume").stdout
    assert len(sandbox.calls()) == before


@pytest.mark.parametrize("option", ["--resume", "--retry-failed"])
def test_one_projects_users_are_not_sent_to_another(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str], option: str
) -> None:
    """Another address is refused, and the run can still be resumed with its own."""
    interrupt(tmp_path, sandbox, variables, at=EMAILS[10])
    with SandboxProcess() as other:
        moved = variables | {"ITERABLE_API_BASE_URL": other.url}
        ran = run(tmp_path, moved, option)

        assert (ran.exit_code, other.calls()) == (78, [])
    assert "was for another ITERABLE_API_BASE_URL or ITERABLE_API_KEY" in ran.stderr
    assert run(tmp_path, variables, "--resume").exit_code == 0
    assert len(sandbox.state()["users"]) == 40


def test_users_that_can_never_be_sent_are_not_retried(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """--status counts them with the reason; once they are fixed, a new run sends them."""
    execute(tmp_path, "UPDATE customers SET email = 'no-at-sign' WHERE id <= 2")
    execute(tmp_path, "UPDATE customers SET email = NULL WHERE id = 3")
    assert run(tmp_path, variables).exit_code == 1
    before = len(sandbox.calls())

    status = run(tmp_path, variables, "--status").stdout
    retried = run(tmp_path, variables, "--retry-failed")

    assert "3 user(s) of run " in status
    assert "cannot be sent and are not retried" in status
    assert "1 × not sent: the customer has no email" in status
    assert "2 × not sent: the email has no @" in status
    assert "--retry-failed" not in status
    assert "Nothing to retry" in retried.stdout
    assert (retried.exit_code, len(sandbox.calls()), len(all_results(tmp_path))) == (0, before, 1)
    execute(tmp_path, "UPDATE customers SET email = 'user' || id || '@example.org' WHERE id <= 3")
    assert run(tmp_path, variables).exit_code == 0
    assert "cannot be sent" not in run(tmp_path, variables, "--status").stdout


def test_a_signal_after_the_last_call_leaves_the_run_complete(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Users that can never be sent leave nothing to resume."""
    execute(tmp_path, "UPDATE customers SET email = 'no-at-sign' WHERE id = 1")
    last = {"endpoint": "events/track", "email": EMAILS[-1]}
    sandbox.faults([{**last, "kind": "slow", "delay_seconds": 3}])
    process = start(tmp_path, variables)
    wait_until(process, lambda: sandbox.stats()["faults_pending"] == 0)
    process.send_signal(signal.SIGTERM)

    ended = finish(tmp_path, process)

    assert (ended.exit_code, ended.results["status"]) == (1, "completed")
    assert "--resume" not in ended.stderr


def test_a_dry_run_counts_only_users_that_would_be_sent(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """Users that can never be sent are not counted."""
    execute(tmp_path, "UPDATE customers SET email = 'no-at-sign' WHERE id <= 2")

    ran = run(tmp_path, variables, "--dry-run")

    assert "Dry run: nothing was sent; 38 user(s) would be, by single calls" in ran.stdout


def test_a_corrected_key_resumes_the_run_that_the_wrong_one_stopped(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """A different key means a different project, in which nothing has been delivered yet."""
    assert run(tmp_path, variables | {"ITERABLE_API_KEY": "wrong-key"}).exit_code == 77

    ran = run(tmp_path, variables, "--resume")

    assert (ran.exit_code, ran.results["successful"]) == (0, 40)
    assert "Unchanged: 40" in run(tmp_path, variables, "--incremental").stdout


def test_a_wrong_key_does_not_decide_that_bulk_calls_are_not_allowed(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """With the right one, the run is resumed in the mode that was asked for."""
    wrong = run(tmp_path, variables | {"ITERABLE_API_KEY": "wrong-key"}, "--mode", "bulk")
    assert wrong.exit_code == 77

    ran = run(tmp_path, variables, "--resume")

    assert (ran.exit_code, ran.results["successful"], ran.results["mode"]) == (0, 40, "bulk")


@pytest.mark.parametrize("option", ["--resume", "--retry-failed"])
def test_a_run_that_never_reached_iterable_is_not_moved_to_another_key(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str], option: str
) -> None:
    """Nothing was delivered, but there is no sign either that the key was wrong."""
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": 503, "times": 200}])
    assert run(tmp_path, variables | {"MAX_ATTEMPTS": "1"}).exit_code == 69
    sandbox.reset()

    ran = run(tmp_path, variables | {"ITERABLE_API_KEY": "another-projects-key"}, option)

    assert (ran.exit_code, sandbox.calls()) == (78, [])
    assert "was for another ITERABLE_API_BASE_URL or ITERABLE_API_KEY" in ran.stderr
    status = run(tmp_path, variables, "--status").stdout
    assert "40 user(s) are pending: python main.py --resume" in status


@pytest.mark.parametrize("option", ["--resume", "--retry-failed"])
def test_a_run_that_was_killed_before_it_delivered_is_not_moved_to_another_key(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str], option: str
) -> None:
    """Its key was never rejected."""
    sandbox.faults([{"endpoint": "*", "kind": "hang"}])
    process = start(tmp_path, variables | {"REQUEST_TIMEOUT": "600"})
    wait_until(process, lambda: bool(sandbox.calls()))
    process.kill()
    finish(tmp_path, process)
    before = len(sandbox.calls())

    ran = run(tmp_path, variables | {"ITERABLE_API_KEY": "another-projects-key"}, option)

    assert (ran.exit_code, len(sandbox.calls())) == (78, before)
    assert "resume it with those settings, or start a new run" in ran.stderr


def test_a_resumed_run_skips_users_that_a_later_run_has_sent(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Stopped, then `--limit 5` with a new name, then resumed: the new name stays."""
    refuse_all_users(sandbox)
    run(tmp_path, variables)
    execute(tmp_path, "UPDATE customers SET first_name = 'New' WHERE id <= 5")
    run(tmp_path, variables, "--limit", "5")

    ran = run(tmp_path, variables, "--resume")

    assert ran.exit_code == 0
    names = [user["dataFields"]["first_name"] for user in sandbox.state()["users"].values()]
    assert (names.count("New"), len(names)) == (5, 40)
    assert "Unchanged: 5" in ran.stdout
    execute(tmp_path, "UPDATE customers SET first_name = 'Ada'")
    assert "Unchanged: 35" in run(tmp_path, variables, "--incremental").stdout


def test_two_concurrent_runs_with_two_journals_may_share_an_output_folder(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """Each run has its own files, even if both started in the same second."""
    runs = [
        start(tmp_path, variables | {"JOURNAL_FILE": f"{name}.db", "LOG_FILE": f"{name}.log"})
        for name in ("one", "two", "three")
    ]

    assert [finish(tmp_path, process).exit_code for process in runs] == [0, 0, 0]
    assert len({results["run_id"] for results in all_results(tmp_path)}) == 3
    assert len(list(tmp_path.glob("query_results_*.csv"))) == 3


def test_an_old_failure_does_not_undo_what_a_newer_run_sent(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """While a newer run is unfinished, the older one's failed users do not get their old data."""
    variables |= {"MAX_WORKERS": "1"}
    failed_for(sandbox, EMAILS[0], tmp_path)
    execute(tmp_path, "UPDATE customers SET first_name = 'New' WHERE id = 1")
    has_paused = pause_at(sandbox, EMAILS[10])
    process = start(tmp_path, variables)
    wait_until(process, has_paused)
    process.kill()
    finish(tmp_path, process)

    retried = run(tmp_path, variables, "--retry-failed")
    run(tmp_path, variables, "--resume")

    assert retried.exit_code == 1
    assert "Run --resume first, then --retry-failed" in retried.stderr
    assert sandbox.state()["users"][EMAILS[0]]["dataFields"]["first_name"] == "New"


def test_a_key_that_loses_bulk_skips_no_user(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """A batch in which one user needs both calls and the others only their events."""
    sandbox.faults([{"endpoint": "events/trackBulk", "kind": "html"}])
    run(tmp_path, variables, "--mode", "bulk")
    with Journal(tmp_path / "iterable_journal.db") as journal:
        journal.record([3], "users_update", FAILED, AT)
        journal.flush(1, Retries())
    refusal = {"kind": "status", "status": 403, "times": 9}
    sandbox.faults([{"endpoint": "users/bulkUpdate", **refusal}])

    ran = run(tmp_path, variables, "--mode", "bulk", "--retry-failed")

    assert (ran.exit_code, len(sandbox.state()["events"])) == (0, 40)


def test_verify_without_a_run_confirms_nothing(tmp_path: Path, variables: dict[str, str]) -> None:
    """A mistyped JOURNAL_FILE must not look like a confirmed delivery."""
    ran = run(tmp_path, variables, "--verify")

    assert ran.exit_code == 1
    assert "Nothing to verify: there was no run yet" in ran.stderr


def test_verify_of_a_run_that_delivered_no_user_confirms_nothing(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Nothing confirmed is not a success."""
    refuse_all_users(sandbox)
    run_id = run(tmp_path, variables).results["run_id"]

    ran = run(tmp_path, variables, "--verify")

    assert ran.exit_code == 1
    (line,) = ran.stderr.splitlines()
    assert line.endswith(f"Nothing to verify: no user of run {run_id} was delivered")
    assert "Verified" not in ran.stdout


def test_verify_of_a_run_without_users_is_no_failure(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """In a quiet week there was nothing to deliver, as the run's own exit code says."""
    execute(tmp_path, "DELETE FROM page_views")
    run_id = run(tmp_path, variables).results["run_id"]

    ran = run(tmp_path, variables, "--verify")

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert f"Nothing to verify: run {run_id} had no users" in ran.stdout


def test_verify_names_the_users_that_it_could_not_read(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """An unreachable Iterable confirms no user: --verify gives up, exit code 69."""
    run(tmp_path, variables)
    away = variables | {"ITERABLE_API_BASE_URL": "http://127.0.0.1:9", "MAX_ATTEMPTS": "1"}

    ran = run(tmp_path, away, "--verify", "all")

    assert ran.exit_code == 69
    assert "Not read: user0@example.com: connection_error" in ran.stderr
    assert "Giving up: 20 consecutive users could not be read" in ran.stderr


def test_verify_gives_up_when_iterable_becomes_unreachable(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Twenty consecutive users that cannot be read are enough, whatever was confirmed before."""
    run(tmp_path, variables)
    dead = {"endpoint": "users/getByEmail", "kind": "status", "status": 503}
    sandbox.faults([{**dead, "email": email} for email in EMAILS[10:]])

    ran = run(tmp_path, variables | {"MAX_ATTEMPTS": "1"}, "--verify", "all")

    assert ran.exit_code == 69
    assert "Verified 30 user(s): 10 confirmed, 0 not confirmed, 20 not read" in ran.stdout
    assert "Giving up: 20 consecutive users could not be read" in ran.stderr


def test_verify_continues_when_some_users_in_between_can_be_read(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Thirty of forty cannot be read, never twenty consecutive: all are reported, exit code 1."""
    run(tmp_path, variables)
    dead = {"endpoint": "users/getByEmail", "kind": "status", "status": 503}
    sandbox.faults([{**dead, "email": email} for n, email in enumerate(EMAILS) if n % 4])

    ran = run(tmp_path, variables | {"MAX_ATTEMPTS": "1"}, "--verify", "all")

    assert ran.exit_code == 1
    assert "Verified 40 user(s): 10 confirmed, 0 not confirmed, 30 not read" in ran.stdout


def test_a_resumed_run_keeps_its_delivery_mode(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """Started with `--mode bulk` and killed, it resumes in bulk, although forty users are few."""
    sandbox.faults([{"endpoint": "*", "kind": "hang"}])
    process = start(tmp_path, variables | {"REQUEST_TIMEOUT": "600"}, "--mode", "bulk")
    wait_until(process, lambda: bool(sandbox.calls()))
    process.kill()
    finish(tmp_path, process)

    ran = run(tmp_path, variables, "--resume")

    assert (ran.exit_code, ran.results["mode"]) == (0, "bulk")
    endpoints = {call["endpoint"] for call in sandbox.calls()}
    assert endpoints == {"users/bulkUpdate", "events/trackBulk"}


def test_a_retry_keeps_the_delivery_mode_of_the_failed_run(
    tmp_path: Path, sandbox: SandboxProcess, variables: dict[str, str]
) -> None:
    """For one user within a short time Iterable recommends one kind of call."""
    sandbox.faults([{"endpoint": "events/trackBulk", "kind": "html"}])
    assert run(tmp_path, variables, "--mode", "bulk").exit_code == 1
    before = len(sandbox.calls())

    assert run(tmp_path, variables, "--retry-failed").exit_code == 0

    assert {call["endpoint"] for call in sandbox.calls()[before:]} == {"events/trackBulk"}


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_verify_with_its_own_exit_code(
    tmp_path: Path,
    sandbox: SandboxProcess,
    variables: dict[str, str],
    number: signal.Signals,
    exit_code: int,
) -> None:
    """The findings so far are printed, but no overall result."""
    run(tmp_path, variables, "--limit", "1")
    sandbox.overwrite(EMAILS[0], {"plan_type": "free"})
    # Delivered in the future, the user is checked again for a minute.
    with closing(sqlite3.connect(tmp_path / "iterable_journal.db")) as journal, journal:
        journal.execute("UPDATE outcomes SET at = '2999-01-13T14:30:45.000000+00:00'")
    process = start(tmp_path, variables, "--verify")
    wait_until(process, lambda: "events/{email}" in sandbox.stats()["calls"])

    process.send_signal(number)

    ended = finish(tmp_path, process)
    assert ended.exit_code == exit_code
    assert "Verified " in ended.stdout
