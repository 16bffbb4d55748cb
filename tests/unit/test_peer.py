"""The comparison with drt: its project's files, its environment, the ratios and the table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks import peer_environment
from benchmarks.measure import Figures
from benchmarks.peer import COMPARISONS, Compared, Comparison, all_met, as_json, table
from benchmarks.peer_environment import FOLDER, REQUIREMENTS, PeerError, complaint_of, drt_folder
from benchmarks.peer_project import Setup, project_files, project_variables

if TYPE_CHECKING:
    from pathlib import Path

DATABASE = {
    "DB_HOST": "127.0.0.1",
    "DB_PORT": "3307",
    "DB_USER": "tester",
    "DB_PASSWORD": "very secret",
    "DB_NAME": "shop",
}
URL = "http://127.0.0.1:8080"


def figures(seconds: float, *problems: str, busy_elsewhere: float = 0.0) -> Figures:
    """A run of 1,000 users."""
    return Figures(
        users=1_000,
        seconds=seconds,
        start_seconds=0.1,
        delivery_seconds=seconds,
        cpu_seconds=0.5,
        server_cpu_seconds=0.1,
        peak_bytes=1,
        journal_bytes=1,
        calls=2,
        refused_429=0,
        busy_elsewhere=busy_elsewhere,
        problems=problems,
    )


def compared(*rounds: tuple[Figures, Figures], judged: bool = True) -> Compared:
    """A comparison with the target 2.0 that had these rounds."""
    comparison = Comparison("some", "some way", 1_000, "bulk", 2.0, Setup("drt run"))
    return Compared(comparison, rounds, judged)


def test_a_bulk_sync_sends_items_made_by_sql_a_thousand_to_a_call() -> None:
    """The database made the texts, and drt only joins them."""
    found = [
        json.loads(text)
        for path, text in project_files(Setup("drt run"), URL, DATABASE).items()
        if path.startswith("syncs/") and path.endswith(".yml")
    ]
    assert [one["destination"]["url"] for one in found] == [
        f"{URL}/api/users/bulkUpdate",
        f"{URL}/api/events/trackBulk",
    ]
    assert [one["destination"]["batch_template"] for one in found] == [
        '{"users":[{{ rows | join(",", attribute="item") }}]}',
        '{"events":[{{ rows | join(",", attribute="item") }}]}',
    ]
    assert {one["destination"]["max_records_per_request"] for one in found} == {1_000}
    assert {one["destination"]["rate_limit"]["requests_per_second"] for one in found} == {0}
    assert {one["sync"]["batch_size"] for one in found} == {1_000_000}


def test_a_sync_of_single_calls_renders_each_row_by_jinja_as_in_the_manual() -> None:
    """One call per row; drt's own batch size when none is given; a rate for each kind of call."""
    setup = Setup("drt run", bulk=False, json_by_sql=False, batch_size=None, rates=(500, 2000))
    files = project_files(setup, URL, DATABASE)
    profiles = json.loads(files["syncs/0_users_00.yml"])
    events = json.loads(files["syncs/1_events_00.yml"])

    assert profiles["destination"]["url"] == f"{URL}/api/users/update"
    assert events["destination"]["url"] == f"{URL}/api/events/track"
    assert "batch_template" not in profiles["destination"]
    assert profiles["destination"]["body_template"].startswith('{"email": {{ row.email | tojson')
    assert profiles["sync"] == events["sync"] == {"mode": "full"}
    assert profiles["destination"]["rate_limit"] == {"requests_per_second": 500}
    assert events["destination"]["rate_limit"] == {"requests_per_second": 2000}


def test_every_shard_has_its_sync_and_its_query_and_profiles_come_first() -> None:
    """The files run in the order of their names."""
    files = project_files(Setup("drt run", shards=3, ordered=True), URL, DATABASE)
    paths = sorted(path for path in files if path.endswith(".yml") and path.startswith("syncs/"))
    names = [json.loads(files[path])["name"] for path in paths]
    assert names == [f"{kind}_0{shard}" for kind in ("users", "events") for shard in range(3)]
    assert [json.loads(files[path])["model"] for path in paths] == [f"ref('{n}')" for n in names]
    for name in names:
        sql = files[f"syncs/models/{name}.sql"]
        assert sql.endswith(f"WHERE id % 3 = {int(name[-1])}\nORDER BY id\n")


def test_the_password_is_in_the_environment_only() -> None:
    """As drt's manual asks for; the key likewise."""
    texts = project_files(Setup("drt run"), URL, DATABASE).values()
    variables = project_variables("/home/of/drt", DATABASE)
    assert not any("very secret" in text or variables["ITERABLE_API_KEY"] in text for text in texts)
    assert variables["MYSQL_PASSWORD"] == "very secret"
    assert variables["HOME"] == "/home/of/drt"


def test_rates_within_published_limits_are_never_exceeded() -> None:
    """Calls per second of profiles and of events; those sent side by side have the same pace."""
    setups = {one.name: one.setup for one in COMPARISONS if one.limited}
    assert {name: setup.rates for name, setup in setups.items()} == {
        "bulk-limits": (5, 5),
        "single-limits": (500, 500),
        "single-plain": (500, 500),
    }


def test_events_beside_their_profiles_are_retried_until_the_user_is_there() -> None:
    """A single call is refused with 400 until then; otherwise drt's own list of codes counts."""
    for setup, codes in [
        (Setup("", bulk=False, retry_unknown_users=True), [400, 429, 500, 502, 503, 504]),
        (Setup("", bulk=False), None),
    ]:
        sync = json.loads(project_files(setup, URL, DATABASE)["syncs/1_events_00.yml"])
        assert sync["destination"].get("retry", {}).get("retryable_status_codes") == codes


def test_the_ratio_is_that_of_the_medians() -> None:
    """Rounds of 100, 200 and 400 against 50, 100 and 80 users/s: 200 / 80, from 2 to 5."""
    one = compared(
        (figures(10.0), figures(20.0)),
        (figures(5.0), figures(10.0)),
        (figures(2.5), figures(12.5)),
    )
    assert one.rates == (200.0, 80.0)
    assert one.ratio == 2.5
    assert one.round_ratios == [2.0, 2.0, 5.0]
    assert one.cells() == (
        *("some", "1,000", "200", "80.0", "2.50", "2.00-5.00", "500", "500", "0", "0"),
        *(">= 2.0", "met"),
    )


@pytest.mark.parametrize(
    ("drt", "judged", "met", "cell"),
    [
        (figures(20.0), True, True, "met"),
        (figures(19.9), True, False, "NOT MET"),
        (figures(19.9), False, None, "-"),
        (figures(20.0, "999 users in the sandbox"), True, False, "NOT MET"),
    ],
)
def test_a_target_needs_the_ratio_and_no_user_lost(
    drt: Figures, judged: bool, met: bool | None, cell: str
) -> None:
    """2.0 times as fast, and a peer that loses users is no measure."""
    one = compared((figures(10.0), drt), judged=judged)
    assert one.met is met
    assert one.cells()[-1] == cell
    assert all_met([one]) is (met is not False)
    assert as_json([one])[0]["met"] is met


def test_lost_users_and_noise_are_reported_below_the_table() -> None:
    """With the name of the one that lost them."""
    lost = (figures(1.0, "exit code 1"), figures(2.0, "9 events in the sandbox"))
    shown = table([compared(lost, (figures(1.0), figures(2.0, busy_elsewhere=0.5)))])
    assert shown[-3:] == [
        "WRONG: some, drt: 9 events in the sandbox",
        "WRONG: some, product: exit code 1",
        "Noise: others used 50% of the machine in a run of some",
    ]
    assert not all_met([compared(lost, judged=False)])


def test_every_round_is_saved() -> None:
    """The figures of both, and the ratio."""
    (saved,) = as_json([compared((figures(1.0), figures(4.0)))])
    assert (saved["name"], saved["ratio"], saved["target"], saved["met"]) == (
        "some",
        4.0,
        2.0,
        True,
    )
    assert saved["users_per_second"] == {"product": 1_000.0, "drt": 250.0}
    assert saved["rounds"][0]["drt"]["seconds"] == 4.0
    json.dumps(saved)


def test_the_installed_packages_are_exact_and_include_drt() -> None:
    """The folder's name says which drt is in it."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert all(len(line.split("==")) == 2 for line in packages)
    assert f"peer-{packages[0].replace('==', '-')}" == FOLDER


def test_drt_is_installed_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again when other versions are required."""
    commands: list[tuple[str, ...]] = []

    def note(_tool: str, *command: str) -> None:
        commands.append(command)
        (tmp_path / FOLDER).mkdir(exist_ok=True)

    monkeypatch.setattr(peer_environment, "_run", note)
    assert drt_folder(tmp_path) == drt_folder(tmp_path) == tmp_path / FOLDER / "bin"
    assert [command[1:3] for command in commands] == [("-m", "venv"), ("-m", "pip")]

    (tmp_path / FOLDER / "installed.txt").write_text("drt-core==1.0.0\n")
    drt_folder(tmp_path)
    assert len(commands) == 4


def test_an_installation_that_fails_is_one_line_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here pip cannot read the list of packages; without a network it is the same."""
    monkeypatch.setattr(peer_environment, "REQUIREMENTS", tmp_path / "packages.txt")
    (tmp_path / "packages.txt").write_text("this is no package\n")
    for _ in range(2):
        with pytest.raises(PeerError, match=r"^drt cannot be installed: ERROR: .*this is no"):
            drt_folder(tmp_path)


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("ERROR: first\nERROR: second\n\n[notice] a new pip\n", "ERROR: second"),
        ("no ensurepip\n install it \n", "install it"),
        ("", "no message"),
    ],
)
def test_the_last_error_of_pip_is_the_complaint(output: str, complaint: str) -> None:
    """Its notices come after its errors."""
    assert complaint_of(output) == complaint
