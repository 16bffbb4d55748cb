"""A load that is killed with kill -9 twenty times, in the middle of its pages and requests."""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.source import SourceOptions, SourceProcess
from tests.end_to_end.test_ingest_faults import without_coverage
from tests.support.cli_runs import environment_of, run_cli, start_cli
from tests.support.ingest_faults.play import LOCK_SECONDS
from tests.support.ingest_faults.sides import configuration, fetch
from tests.support.ingest_faults.targets import MySQLTarget, prepare
from tests.support.runs import finish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.mysql_server import MySQLServer

__all__ = ["without_coverage"]

KILLS = 20
CUSTOMERS = 400
PAGE = 10
HTTP = f"""\
url = "{{url}}/cursor/customers"
records = "data"
pagination = {{{{ kind = "cursor", parameter = "cursor", next = "paging.next" }}}}
page_size = {{{{ parameter = "limit", value = {PAGE} }}}}
cursor = {{{{ field = "updated_at", parameter = "updated_since" }}}}
requests_per_second = 1000
"""
HANG_SECONDS = 60


@pytest.fixture(scope="module")
def source() -> Iterator[SourceProcess]:
    """A source with some bad records."""
    with SourceProcess(SourceOptions(customers=CUSTOMERS, bad=0.05)) as process:
        yield process


@pytest.fixture
def targets(mysql_server: MySQLServer) -> Iterator[tuple[MySQLTarget, MySQLTarget]]:
    """Two empty databases."""
    pair = MySQLTarget(mysql_server), MySQLTarget(mysql_server)
    for target in pair:
        prepare(target.settings, "customers", 0)
    yield pair
    mysql_server.drop_databases()


def write_sources(folder: Path, source: SourceProcess, kind: str) -> None:
    """An API with pages of ten records, or files with as many."""
    if kind == "http":
        text = configuration("customers", "http", HTTP.format(url=source.url), nested=True)
    else:
        text = configuration("customers", "csv", 'path = "part_*.csv"', nested=False)
        header, *lines = fetch(f"{source.url}/files/customers.csv").splitlines(keepends=True)
        for first in range(0, len(lines), PAGE):
            file = folder / f"part_{first:04}.csv"
            file.write_bytes(b"".join([header, *lines[first : first + PAGE]]))
    (folder / "sources.toml").write_text(text)


def environment_for(target: MySQLTarget) -> dict[str, str]:
    """The settings of a run that waits for an answer until it is killed."""
    return environment_of(target.settings) | {"REQUEST_TIMEOUT": str(HANG_SECONDS)}


def everything(target: MySQLTarget) -> dict[str, list[tuple[Any, ...]]]:
    """What a load leaves, without the numbers of runs."""
    return {
        "rows": target.query("SELECT * FROM customers ORDER BY id"),
        "links": target.query("SELECT source_key, target_id FROM etl_records ORDER BY source_key"),
        "rejected": sorted(
            target.query("SELECT source_key, code, field FROM etl_rejected"), key=str
        ),
        "pages": target.query("SELECT sha256, records FROM etl_raw_data ORDER BY run_id, page"),
        "counts": target.query(
            "SELECT SUM(pages), SUM(records), SUM(inserted), SUM(updated), SUM(unchanged),"
            " SUM(rejected) FROM etl_runs"
        ),
    }


@pytest.mark.parametrize("kind", ["http", "csv"])
def test_a_load_that_is_killed_twenty_times_is_that_of_an_undisturbed_one(
    tmp_path: Path, source: SourceProcess, targets: tuple[MySQLTarget, MySQLTarget], kind: str
) -> None:
    """Row by row, with the same pages, rejections and counts: nothing was read or stored twice."""
    undisturbed, killed = targets
    random = Random(7)
    write_sources(tmp_path, source, kind)
    assert run_cli(tmp_path, environment_for(undisturbed), "run").exit_code == 1

    for _ in range(KILLS):
        kill_once(tmp_path, source, killed, random, kind)

    assert run_cli(tmp_path, environment_for(killed), "run").exit_code in {0, 1}
    assert everything(killed) == everything(undisturbed)
    statuses = [status for (status,) in killed.query("SELECT status FROM etl_runs ORDER BY run_id")]
    assert statuses == ["crashed"] * KILLS + ["completed"]


def kill_once(
    folder: Path, source: SourceProcess, target: MySQLTarget, random: Random, kind: str
) -> None:
    """Kill a run in the middle of one of its first two pages, or while it waits for an answer."""
    if kind == "http" and random.random() < 0.3:
        kill_during_a_request(folder, source, target, random)
        return
    stored = {key for (key,) in target.query("SELECT source_key FROM etl_records")}
    missing = [str(key) for key in range(1, CUSTOMERS) if str(key) not in stored]
    table = random.choice(("customers", "etl_records", "etl_checkpoint"))
    for key in missing[random.randrange(PAGE) :]:
        # A record that is rejected stops no run.
        if (int(key) - 1) * 2_654_435_761 % 2**32 >= 0.05 * 2**32:
            break
    with target.locked(table, "customers", key) as blocker:
        process = start_cli(folder, environment_for(target), "run")
        while process.poll() is None and blocker.waiting() is None:
            time.sleep(LOCK_SECONDS)
        process.kill()
        assert finish(folder, process).exit_code == -9
    target.wait_until_free()


def kill_during_a_request(
    folder: Path, source: SourceProcess, target: MySQLTarget, random: Random
) -> None:
    """Kill a run while its second or third request is not answered."""
    source.faults({"kind": "hang", "skip": random.randint(1, 2)})
    process = start_cli(folder, environment_for(target), "run")
    while process.poll() is None and source.stats()["faults_pending"]:
        time.sleep(0.01)
    process.kill()
    assert finish(folder, process).exit_code == -9
    target.wait_until_free()
