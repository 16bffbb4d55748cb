"""The program end to end, as a real process against a real database and a real HTTP server."""

from __future__ import annotations

import signal
import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import mysql.connector
import pytest

from sandbox.options import SandboxOptions
from sandbox.process import SandboxProcess
from tests.support.runs import Customer, database_of, environment_for, finish, run, start

if TYPE_CHECKING:
    from pathlib import Path

    from db_connection import DatabaseSettings

JWT_SECRET = "a-jwt-secret-of-thirty-two-bytes!"
CSV_HEADER = (
    "id,email,first_name,last_name,plan_type,candidate,page,device,browser,location,event_time"
)
DEMO_EMAILS = ["delgadoalex10@gmail.com", "sarah.johnson@email.com", "mia.harris@email.com"]
STEPS = [
    "[STEP 1] Loading environment variables...",
    "Environment variables loaded successfully",
    "[STEP 2] Connecting to database...",
    "Successfully connected to database: ",
    "[STEP 3] Executing Phase 2 Query 2...",
    "Query executed successfully, returned 3 rows",
    "Found 3 pro user(s) with recent engagement",
    "[STEP 4] Initializing Iterable API client...",
    "Using API key authentication",
    "Iterable API client initialized",
    "[STEP 4.5] Exporting query results to CSV...",
    "Exported 3 records to CSV: query_results_",
    "[STEP 5] Processing user records...",
    "Processing record 1/3",
    "Processing user: delgadoalex10@gmail.com",
    "users/update call successful: Success",
    "events/track call successful: Success",
    "✓ Successfully processed user: delgadoalex10@gmail.com",
    "[STEP 6] Generating summary...",
    "INTEGRATION SUMMARY",
    "Total users processed: 3",
    "✓ Successful (both API calls): 3",
    "⚠ Partial failures (one call failed): 0",
    "✗ Total failures (both calls failed): 0",
    "✓ CSV Export: query_results_",
    "✓ Authentication: API Key",
    "Retries: 0",
]


def environment(
    folder: Path, sandbox: SandboxProcess, *customers: Customer | str | None, **more: str
) -> dict[str, str]:
    """A configuration for a list of customers in an SQLite database."""
    database = database_of(folder / "customers.sqlite", customers)
    return environment_for(folder, sandbox, database) | more


def stored_event(sandbox: SandboxProcess, email: str) -> dict[str, Any]:
    """The only event of this user."""
    (event,) = (e for e in sandbox.state()["events"].values() if e["email"] == email)
    assert isinstance(event, dict)
    return event


def test_the_three_demo_customers_of_a_mysql_server_are_delivered(
    tmp_path: Path, sandbox: SandboxProcess, seeded_database: DatabaseSettings
) -> None:
    """Database, Query 2, CSV, Iterable, results: all of it, with exit code 0."""
    ran = run(tmp_path, environment_for(tmp_path, sandbox, seeded_database))

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert [row["email"] for row in ran.csv_rows] == DEMO_EMAILS
    results = ran.results
    assert [record["email"] for record in results["records"]] == DEMO_EMAILS
    assert (results["status"], results["total_users"], results["successful"]) == ("completed", 3, 3)
    state = sandbox.state()
    assert sorted(state["users"]) == sorted(DEMO_EMAILS)
    assert len(state["events"]) == 3


def test_the_log_tells_the_run_in_the_documented_lines_and_order(
    tmp_path: Path, sandbox: SandboxProcess, seeded_database: DatabaseSettings
) -> None:
    """Each documented line is there, below the one before it, in the file and on stdout."""
    ran = run(tmp_path, environment_for(tmp_path, sandbox, seeded_database), "--workers", "1")

    messages = iter(ran.messages())
    for step in STEPS:
        assert any(message.startswith(step) for message in messages), step
    assert [m for m in ran.messages() if m not in ran.stdout] == []


def test_the_log_begins_before_the_settings_are_read(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """In the file too, whose path is not known before; LOG_LEVEL applies to the console."""
    variables = environment(tmp_path, sandbox, "ada@example.com")
    (tmp_path / ".env").write_text("LOG_LEVEL=WARNING\n", encoding="utf-8")

    ran = run(tmp_path, variables)

    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "", "")
    assert ran.messages()[:3] == [
        "Starting Iterable Integration",
        "[STEP 1] Loading environment variables...",
        "Environment variables loaded successfully",
    ]


def test_the_log_of_a_run_with_unusable_settings_ends_at_step_1(tmp_path: Path) -> None:
    """The step that started is logged, then the error, and no success."""
    ran = run(tmp_path, {})

    assert ran.exit_code == 78
    assert [line.split(" - ", 3)[3] for line in ran.stdout.splitlines()] == [
        "Starting Iterable Integration",
        "[STEP 1] Loading environment variables...",
    ]
    assert len(ran.stderr.splitlines()) == 1


def test_an_invalid_line_of_the_env_file_is_a_warning(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """Each line appears once, on the console and in the file."""
    variables = environment(tmp_path, sandbox, "ada@example.com")
    (tmp_path / ".env").write_text("LOG_LEVEL=INFO\nno = 'end\n", encoding="utf-8")

    ran = run(tmp_path, variables)

    assert ran.exit_code == 0
    assert "could not parse" in ran.stderr
    assert "could not parse" in ran.messages()[2]
    for text in (ran.stdout, ran.log):
        assert text.count("Starting Iterable Integration") == 1


def test_a_log_line_has_the_name_of_its_module(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """The name leads to the code that logs the line."""
    ran = run(tmp_path, environment(tmp_path, sandbox, "ada@example.com"))

    names = {
        line.split(" - ", 3)[3].rstrip("."): line.split(" - ")[1] for line in ran.log.splitlines()
    }
    assert names["Starting Iterable Integration"] == "main"
    assert names["[STEP 2] Connecting to database"] == "start_run"
    assert names["Processing user: ada@example.com"] == "progress"


def test_iterable_stores_the_profile_and_the_event_field_by_field(
    tmp_path: Path, sandbox: SandboxProcess, seeded_database: DatabaseSettings
) -> None:
    """The server stores exactly what section 7 of the contract says."""
    ran = run(tmp_path, environment_for(tmp_path, sandbox, seeded_database))

    row = ran.csv_rows[0]
    profile = sandbox.state()["users"]["delgadoalex10@gmail.com"]
    assert profile["dataFields"] == {
        "first_name": "Alex",
        "last_name": "Delgado",
        "plan_type": "pro",
        "recent_page_view": True,
        "candidate": "Alex Delgado",
    }
    event = stored_event(sandbox, "delgadoalex10@gmail.com")
    assert event["eventName"] == "page_view"
    assert event["dataFields"] == {
        "page": "pricing",
        "device": "desktop",
        "browser": "Chrome",
        "location": "San Francisco CA",
        "timestamp": row["event_time"],
        "candidate": "Alex Delgado",
    }
    assert event["createdAt"] == unix_seconds(row["event_time"])


@pytest.mark.parametrize("secret", [JWT_SECRET, "short"])
def test_a_jwt_key_delivers_the_same_users(
    tmp_path: Path, seeded_database: DatabaseSettings, secret: str
) -> None:
    """Each request carries the key and a token for its own user; nothing goes to stderr."""
    with SandboxProcess(SandboxOptions(jwt_secret=secret)) as sandbox:
        variables = environment_for(tmp_path, sandbox, seeded_database)
        variables |= {"USE_JWT_AUTH": "true", "ITERABLE_JWT_SECRET": secret}
        ran = run(tmp_path, variables)

        assert (ran.exit_code, ran.stderr) == (0, "")
        assert ran.results["authentication"] == "JWT"
        assert "Using JWT authentication" in ran.log
        assert sorted(sandbox.state()["users"]) == sorted(DEMO_EMAILS)


def test_a_second_run_leaves_the_same_events(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """An event's id depends on the view only, so sending it again creates no second event."""
    variables = environment(tmp_path, sandbox, "ada@example.com", "bob@example.com")
    (tmp_path / "again").mkdir()
    run(tmp_path, variables)

    ran = run(tmp_path / "again", variables)

    assert ran.exit_code == 0
    assert len(sandbox.state()["events"]) == 2


def test_two_server_errors_and_a_success_are_one_delivery(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """503, 502, 200: waits of about 1 s and 2 s, both logged and counted."""
    sandbox.faults(
        [
            {"endpoint": "users/update", "kind": "status", "status": 503},
            {"endpoint": "users/update", "kind": "status", "status": 502},
        ]
    )

    ran = run(tmp_path, environment(tmp_path, sandbox, "ada@example.com"))

    assert ran.exit_code == 0
    first, second = [line for line in ran.stderr.splitlines() if "Retrying in" in line]
    assert "Retryable error 503 from users/update. Retrying in 1." in first
    assert first.endswith("s (attempt 1/3)")
    assert "Retryable error 502 from users/update. Retrying in 2." in second
    assert second.endswith("s (attempt 2/3)")
    retries = ran.results["retries"]
    assert (retries["total"], retries["by_status"]) == (2, {"502": 1, "503": 1})
    assert 3.0 <= retries["seconds_waited"] <= 3.75
    assert ran.records["ada@example.com"]["users_update"]["attempts"] == 3


def test_a_400_is_not_retried_and_the_event_is_still_sent(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """A rejected profile is a partial failure: the event is still sent, exit code 1."""
    email = "profilerefused@example.com"

    ran = run(tmp_path, environment(tmp_path, sandbox, email, "ada@example.com"))

    assert ran.exit_code == 1
    record = ran.records[email]
    assert (record["users_update"]["attempts"], record["users_update"]["status_code"]) == (1, 400)
    assert record["users_update"]["error"] == "client_error"
    assert record["events_track"]["success"] is True
    assert "4xx Client Error from users/update: Status 400" in ran.stderr
    assert ran.results["partial_failures"] == 1
    assert ran.results["successful"] == 1


def test_a_429_waits_for_retry_after_and_does_not_count_as_an_attempt(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """`Retry-After: 2` waits 2 s, even when only one attempt is allowed."""
    fault = {"kind": "status", "status": 429, "headers": {"Retry-After": "2"}}
    sandbox.faults([{"endpoint": "users/update", **fault}])

    ran = run(tmp_path, environment(tmp_path, sandbox, "ada@example.com", MAX_ATTEMPTS="1"))

    assert ran.exit_code == 0
    assert "Retryable error 429 from users/update. Retrying in 2.00s" in ran.stderr
    retries = ran.results["retries"]
    assert retries == {"total": 1, "by_status": {"429": 1}, "seconds_waited": 2.0}


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        ({"kind": "html"}, "invalid_response", 200),
        ({"kind": "html", "status": 502}, "server_error", 502),
        ({"kind": "garbage"}, "invalid_response", 200),
        ({"kind": "malformed"}, "invalid_response", None),
        ({"kind": "hang"}, "timeout", None),
        ({"kind": "truncated"}, "connection_error", None),
        ({"kind": "reset_before"}, "connection_error", None),
        ({"kind": "reset_after"}, "connection_error", None),
        ({"kind": "close_after"}, "connection_error", None),
        ({"kind": "wrong_code"}, "client_error", 200),
        ({"kind": "status", "status": 500}, "server_error", 500),
        ({"kind": "status", "status": 408}, "timeout", 408),
    ],
    ids=lambda value: str(value.get("kind", "")) if isinstance(value, dict) else str(value),
)
def test_every_kind_of_failure_is_recorded_as_such(
    tmp_path: Path,
    sandbox: SandboxProcess,
    fault: dict[str, Any],
    error: str,
    status: int | None,
) -> None:
    """The user's outcome names the failure, and the run continues with the next user."""
    sandbox.faults([{"endpoint": "events/track", **fault}])
    variables = environment(
        tmp_path,
        sandbox,
        "ada@example.com",
        "bob@example.com",
        MAX_ATTEMPTS="1",
        # Long enough for the calls that get an answer.
        REQUEST_TIMEOUT="2.5" if fault["kind"] == "hang" else "10",
    )

    ran = run(tmp_path, variables)

    assert ran.exit_code == 1
    event = ran.records["ada@example.com"]["events_track"]
    assert (event["success"], event["error"], event["status_code"]) == (False, error, status)
    assert ran.records["bob@example.com"]["overall_success"] is True
    assert ran.results["partial_failures"] == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_the_run_after_one_user(
    tmp_path: Path, sandbox: SandboxProcess, status: int
) -> None:
    """One call is made, no other user is tried, and the exit code points to the key."""
    sandbox.faults([{"endpoint": "*", "kind": "status", "status": status, "times": 99}])
    emails = [f"user{number}@example.com" for number in range(20)]

    ran = run(tmp_path, environment(tmp_path, sandbox, *emails))

    assert ran.exit_code == 77
    assert len(sandbox.calls()) == 1
    results = ran.results
    assert (results["status"], results["total_failures"]) == ("stopped", 1)
    assert results["not_attempted"] == 19
    assert "ITERABLE_API_KEY" in results["stop_reason"]
    assert ran.records["user7@example.com"]["users_update"]["error"] == "not_attempted"


def test_an_unreachable_iterable_stops_the_run_after_twenty_calls(tmp_path: Path) -> None:
    """Nothing listens: after 20 consecutive failures the rest is not attempted, exit code 69."""
    database = database_of(tmp_path / "many.sqlite", [f"u{n}@example.com" for n in range(200)])
    variables = environment_for(tmp_path, None, database)

    ran = run(tmp_path, variables | {"MAX_ATTEMPTS": "1", "MAX_WORKERS": "4"})

    assert ran.exit_code == 69
    results = ran.results
    assert results["status"] == "stopped"
    assert "unreachable" in results["stop_reason"]
    assert results["not_attempted"] > 150
    assert results["total_failures"] + results["not_attempted"] == 200


def test_no_user_to_deliver_is_a_success_with_empty_files(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """No rows: a warning, a CSV with its header only, results without records, exit code 0."""
    ran = run(tmp_path, environment(tmp_path, sandbox))

    assert ran.exit_code == 0
    assert "No pro users with recent pricing/settings page views found" in ran.stderr
    (csv_file,) = tmp_path.glob("query_results_*.csv")
    assert csv_file.read_bytes() == f"{CSV_HEADER}\r\n".encode()
    assert (ran.results["total_users"], ran.results["records"]) == (0, [])


UNUSUAL = Customer(
    "Grace.HOPPER@Example.com",
    first_name=None,
    last_name="Hopper 🚀",
    candidate="+1",
    browser="Netscape 𝒩",
    location="=cmd|' /C calc'!A0",
)


def test_unusual_values_are_unchanged_in_iterable_and_escaped_in_the_csv(
    tmp_path: Path,
    sandbox: SandboxProcess,
    seeded_database: DatabaseSettings,
) -> None:
    """Emoji, capitals, NULL, a formula, four-byte characters: raw in calls, escaped in the CSV."""
    change_first_customer(seeded_database, UNUSUAL)

    ran = run(tmp_path, environment_for(tmp_path, sandbox, seeded_database))

    assert ran.exit_code == 0
    profile = sandbox.state()["users"]["grace.hopper@example.com"]["dataFields"]
    assert (profile["first_name"], profile["last_name"]) == (None, "Hopper 🚀")
    event = stored_event(sandbox, "grace.hopper@example.com")["dataFields"]
    assert event["browser"] == "Netscape 𝒩"
    assert event["location"] == "=cmd|' /C calc'!A0"
    row = ran.csv_rows[0]
    assert row["email"] == "Grace.HOPPER@Example.com"
    assert row["first_name"] == ""
    assert row["location"] == "'=cmd|' /C calc'!A0"
    assert row["candidate"] == "'+1"


@pytest.mark.parametrize("email", [None, "", "no-at-sign", "a b@example.com", f"{'x' * 250}@e.com"])
def test_an_undeliverable_email_is_not_sent(
    tmp_path: Path, sandbox: SandboxProcess, email: str | None
) -> None:
    """It fails with its reason, and no call is made for it."""
    ran = run(tmp_path, environment(tmp_path, sandbox, email, "bob@example.com"))

    assert ran.exit_code == 1
    assert {call["email"] for call in sandbox.calls()} == {"bob@example.com"}
    record = ran.records[email]
    assert record["users_update"]["error"] == record["events_track"]["error"] == "invalid_record"
    assert record["users_update"]["response"].startswith("not sent: ")
    assert ran.results["total_failures"] == 1


def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """CSV and results are written; the journal is unchanged."""
    ran = run(tmp_path, environment(tmp_path, sandbox, "ada@example.com"), "--dry-run")

    assert ran.exit_code == 0
    assert sandbox.calls() == []
    assert 'Would send users/update: {"email":"ada@example.com"' in ran.stdout
    assert "Would send events/track: " in ran.stdout
    results = ran.results
    assert (results["dry_run"], results["mode"], results["not_attempted"]) == (True, "single", 1)
    assert not list(tmp_path.glob("iterable_journal*"))


def test_a_limit_takes_the_first_users_only(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """`--limit 2` of three users: two rows, two users, two events."""
    variables = environment(tmp_path, sandbox, "a@example.com", "b@example.com", "c@example.com")

    ran = run(tmp_path, variables, "--limit", "2")

    assert [row["email"] for row in ran.csv_rows] == ["a@example.com", "b@example.com"]
    assert sorted(sandbox.state()["users"]) == ["a@example.com", "b@example.com"]


def test_without_settings_one_line_names_all_that_are_missing(tmp_path: Path) -> None:
    """No `.env`: exit code 78 and no traceback."""
    ran = run(tmp_path, {}, "--env-file", str(empty_file(tmp_path)))

    assert ran.exit_code == 78
    (line,) = ran.stderr.splitlines()
    assert line.endswith(
        "Missing required environment variables:"
        " DB_HOST, DB_USER, DB_PASSWORD, DB_NAME, ITERABLE_API_KEY"
    )


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"DB_PASSWORD": "wrong"}, "DB_PASSWORD"),
        ({"DB_NAME": "no_such_database"}, "DB_NAME"),
        ({"DB_PORT": "9"}, "DB_"),
        ({"DB_HOST": "no-such-host.invalid"}, "DB_HOST"),
    ],
    ids=["password", "database", "port", "host"],
)
def test_an_unusable_database_is_one_line_and_exit_69(
    tmp_path: Path,
    sandbox: SandboxProcess,
    seeded_database: DatabaseSettings,
    change: dict[str, str],
    hint: str,
) -> None:
    """The line says what to check; the run leaves no file and sends nothing."""
    ran = run(tmp_path, environment_for(tmp_path, sandbox, seeded_database) | change)

    assert ran.exit_code == 69
    (error,) = [line for line in ran.stderr.splitlines() if " - ERROR - " in line]
    assert hint in error
    assert "Traceback" not in ran.stderr
    assert not list(tmp_path.glob("*_results_*"))
    assert sandbox.calls() == []


def test_a_missing_table_is_one_line_that_names_the_setup(
    tmp_path: Path, sandbox: SandboxProcess, empty_database: DatabaseSettings
) -> None:
    """An empty database: exit code 69 and the command that fills it."""
    ran = run(tmp_path, environment_for(tmp_path, sandbox, empty_database))

    assert ran.exit_code == 69
    (error,) = [line for line in ran.stderr.splitlines() if " - ERROR - " in line]
    assert "database_setup.sql" in error
    assert not list(tmp_path.glob("*_results_*"))


def test_files_with_personal_data_are_for_their_owner_only(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """CSV, JSON, log and journal have mode 0600, whatever the umask."""
    run(tmp_path, environment(tmp_path, sandbox, "ada@example.com"))

    left = [path for path in tmp_path.iterdir() if path.name != "customers.sqlite"]
    assert len(left) >= 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in left} == {0o600}


def test_no_secret_is_in_any_file_or_line_of_a_debug_run(
    tmp_path: Path, seeded_database: DatabaseSettings
) -> None:
    """Key, JWT secret, token and password: not even when Iterable's answer repeats them."""
    key, password = "key-that-must-stay-hidden", seeded_database.password or "unused-password"
    options = SandboxOptions(api_key=key, jwt_secret=JWT_SECRET)
    with SandboxProcess(options) as sandbox:
        sandbox.faults([{"endpoint": "*", "kind": "echo_secrets", "times": 3}])
        variables = environment_for(tmp_path, sandbox, seeded_database) | {
            "ITERABLE_API_KEY": key,
            "USE_JWT_AUTH": "true",
            "ITERABLE_JWT_SECRET": JWT_SECRET,
            "LOG_LEVEL": "DEBUG",
        }
        ran = run(tmp_path, variables, "--verbose")

    assert ran.exit_code == 1
    left = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    written = b"".join(left) + ran.stdout.encode() + ran.stderr.encode()
    assert b"***" in written
    for secret in (key, JWT_SECRET, password, "eyJ"):
        assert secret.encode() not in written


def test_a_demo_needs_nothing_but_itself(tmp_path: Path) -> None:
    """`--demo` with an empty environment: three users, files in demo_output."""
    ran = run(tmp_path, {}, "--demo")

    assert (ran.exit_code, ran.stderr) == (0, "")
    names = sorted(path.name.split("_2")[0] for path in (tmp_path / "demo_output").iterdir())
    assert {"integration_results", "query_results", "iterable_integration.log"} <= set(names)
    assert "✓ Successful (both API calls): 3" in ran.stdout


def test_an_unwritable_output_folder_is_detected_before_the_first_call(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """A file instead of the folder: one line, exit code 78, nothing sent."""
    blocked = empty_file(tmp_path)

    variables = environment(tmp_path, sandbox, "ada@example.com", OUTPUT_DIR=str(blocked))
    ran = run(tmp_path, variables)

    assert ran.exit_code == 78
    assert len(ran.stderr.splitlines()) == 1
    assert "OUTPUT_DIR" in ran.stderr
    assert sandbox.calls() == []


def test_a_value_that_cannot_be_sent_is_one_line_and_exit_69(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    """A table with a different schema: the line names customer and column; nothing is sent."""
    variables = environment(tmp_path, sandbox, "ada@example.com")
    with closing(sqlite3.connect(tmp_path / "customers.sqlite")) as database, database:
        database.execute("UPDATE customers SET first_name = x'ff'")

    ran = run(tmp_path, variables)

    assert ran.exit_code == 69
    (line,) = ran.stderr.splitlines()
    assert " - ERROR - Customer 1: first_name is binary" in line
    assert "expected text" in line
    assert sandbox.calls() == []


# Python imports a module of this name before the program; it interrupts the program's loading.
INTERRUPTS_LOADING = """
import signal, sys

class Interrupter:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "iterable_client":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupter)
"""


def test_ctrl_c_while_the_program_is_still_loading_ends_it_without_a_traceback(
    tmp_path: Path,
) -> None:
    """It is killed by the signal, as its shell expects, and prints nothing."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTS_LOADING, encoding="utf-8")
    variables = {"PYTHONPATH": str(tmp_path)}

    ended = finish(tmp_path, start(tmp_path, variables, "--version"))

    assert (ended.exit_code, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def unix_seconds(text: str) -> int:
    """A UTC time of the CSV as Iterable's `createdAt`."""
    moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return int(moment.timestamp())


def empty_file(folder: Path) -> Path:
    """An empty file."""
    path = folder / "empty"
    path.touch()
    return path


def change_first_customer(database: DatabaseSettings, customer: Customer) -> None:
    """Give the demo's first customer, and their views, other values."""
    with (
        mysql.connector.connect(
            host=database.hosts[0],
            port=database.port,
            user=database.user,
            password=database.password,
            database=database.name,
            charset="utf8mb4",
            collation="utf8mb4_general_ci",
            autocommit=True,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "UPDATE customers SET email = %s, first_name = %s, last_name = %s, candidate = %s"
            " WHERE id = 1",
            (customer.email, customer.first_name, customer.last_name, customer.candidate),
        )
        cursor.execute(
            "UPDATE page_views SET browser = %s, location = %s WHERE user_id = 1",
            (customer.browser, customer.location),
        )
