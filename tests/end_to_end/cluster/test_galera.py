"""A Galera cluster loses a node: the run fails cleanly, and the next one uses another node."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import load_seed
from tests.end_to_end.cluster.galera import Cluster, NoGaleraError, galera_cluster
from tests.support.fault_matrix import journal_of
from tests.support.runs import RunResult, environment_for, finish, run, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.process import SandboxProcess

NAME = "iterable_cluster"
SEEDED_USERS = 3
MORE_USERS = 200_000
# The journal reaches this size only when rows are arriving.
STREAMING_BYTES = 4_000_000
MORE_CUSTOMERS = (
    "INSERT INTO customers (id, email, first_name, last_name, plan_type, candidate)"
    f" SELECT 1000 + seq, CONCAT('user', seq, '@example.com'), 'Ada', 'Lovelace', 'pro', 'yes'"
    f" FROM seq_1_to_{MORE_USERS}"
)
MORE_VIEWS = (
    "INSERT INTO page_views (user_id, page, device, browser, location, event_time)"
    " SELECT 1000 + seq, 'pricing', 'desktop', 'Chrome', 'London',"
    f" UTC_TIMESTAMP() - INTERVAL 1 DAY FROM seq_1_to_{MORE_USERS}"
)


@pytest.fixture(name="cluster")
def cluster_fixture() -> Iterator[Cluster]:
    """Three nodes with the seed's rows."""
    try:
        with galera_cluster() as cluster:
            first = cluster.nodes[0]
            first.run(f"CREATE DATABASE {NAME} CHARACTER SET utf8mb4")
            load_seed(first, NAME)
            cluster.wait_until_equal()
            yield cluster
    except NoGaleraError as error:
        pytest.fail(str(error))


def environment(folder: Path, sandbox: SandboxProcess, cluster: Cluster) -> dict[str, str]:
    """A configuration that names all nodes."""
    fast = {"RATE_LIMIT_SHARE": "10000"}
    return environment_for(folder, sandbox, cluster.settings(NAME)) | fast


def problems(ran: RunResult, level: str) -> list[str]:
    """The messages of one level on stderr."""
    return [line for line in ran.stderr.splitlines() if f" - {level} - " in line]


def test_a_node_killed_mid_stream_fails_the_whole_run_and_the_next_run_delivers_all(
    tmp_path: Path, sandbox: SandboxProcess, cluster: Cluster
) -> None:
    """Exit 69, no file, no run in the journal, nothing sent; then all of it from the next node."""
    cluster.nodes[0].run(MORE_CUSTOMERS, MORE_VIEWS, name=NAME)
    cluster.wait_until_equal()
    variables = environment(tmp_path, sandbox, cluster)
    process = start(tmp_path, variables)
    log = tmp_path / "iterable_journal.db-wal"
    while not log.exists() or log.stat().st_size < STREAMING_BYTES:
        assert process.poll() is None, "the run was over before the node died"
        time.sleep(0.005)

    cluster.lose(cluster.nodes[0])
    ran = finish(tmp_path, process)

    assert ran.exit_code == 69
    (line,) = problems(ran, "ERROR")
    assert "Lost the connection to the database at 127.0.0.1:" in line
    assert list(tmp_path.glob("*_results_*")) == []
    assert journal_of(tmp_path) == []
    assert sandbox.calls() == []

    ran = run(tmp_path, variables)

    assert ran.exit_code == 0
    (warning,) = problems(ran, "WARNING")
    assert "Cannot connect to the database at 127.0.0.1:" in warning
    assert warning.endswith("Trying the next host")
    assert ran.results["successful"] == SEEDED_USERS + MORE_USERS
    stats = sandbox.stats()
    assert stats["items"]["events/trackBulk"] == SEEDED_USERS + MORE_USERS


def test_with_two_nodes_gone_the_last_one_refuses_and_the_run_reports_it(
    tmp_path: Path, sandbox: SandboxProcess, cluster: Cluster
) -> None:
    """A node without a majority may be out of date: exit 69, nothing sent."""
    for node in cluster.nodes[:2]:
        cluster.lose(node)
    wait_until_cut_off(cluster, 2)

    ran = run(tmp_path, environment(tmp_path, sandbox, cluster))

    assert ran.exit_code == 69
    assert "WSREP has not yet prepared node" in problems(ran, "ERROR")[0]
    assert sandbox.calls() == []


def test_a_first_node_that_lost_its_cluster_is_skipped(
    tmp_path: Path, sandbox: SandboxProcess, cluster: Cluster
) -> None:
    """It accepts connections but no queries: the next node is used."""
    cluster.nodes[0].run("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
    wait_until_cut_off(cluster, 0)

    ran = run(tmp_path, environment(tmp_path, sandbox, cluster))

    assert ran.exit_code == 0
    assert ran.results["successful"] == SEEDED_USERS


def wait_until_cut_off(cluster: Cluster, number: int) -> None:
    """Galera takes some seconds to notice that other nodes are gone."""
    give_up = time.monotonic() + 60
    while cluster.nodes[number].run("SHOW STATUS LIKE 'wsrep_ready'")[0][1] != "OFF":
        assert time.monotonic() < give_up
        time.sleep(0.2)
