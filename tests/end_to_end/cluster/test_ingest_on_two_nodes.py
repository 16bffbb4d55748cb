"""Two runs of one source on two nodes of a Galera cluster, which do not share GET_LOCK."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.database.writing import open_writer
from integration.ingest.tables import prepare_tables
from sandbox.source import SourceOptions, SourceProcess
from tests.conftest import load_seed
from tests.end_to_end.cluster.galera import NoGaleraError, galera_cluster
from tests.support.cli_runs import CUSTOMERS, environment_of, run_cli, start_cli
from tests.support.runs import finish

if TYPE_CHECKING:
    from pathlib import Path

NAME = "ingest_cluster"
NUMBER = 400


def test_the_version_of_the_checkpoint_decides(tmp_path: Path) -> None:
    """One run stores everything, the other one ends with 75; no customer is lost or doubled."""
    try:
        with galera_cluster() as cluster, SourceProcess() as source:
            source.configure(**asdict(SourceOptions(customers=NUMBER, latency=0.05)))
            first, second = cluster.nodes[:2]
            first.run(f"CREATE DATABASE {NAME} CHARACTER SET utf8mb4")
            load_seed(first, NAME)
            first.run("DELETE FROM page_views", "DELETE FROM customers", name=NAME)
            settings = cluster.settings(NAME)
            with closing(open_writer(settings)) as session:
                prepare_tables(session)
            cluster.wait_until_equal()
            folders = [tmp_path / node.host for node in (first, second)]
            for folder in folders:
                folder.mkdir()
                (folder / "sources.toml").write_text(CUSTOMERS.format(url=source.url))
            environments = [
                environment_of(dataclasses.replace(settings, hosts=(node.host,)))
                for node in (first, second)
            ]

            processes = [
                start_cli(folder, environment, "run")
                for folder, environment in zip(folders, environments, strict=True)
            ]
            results = [
                finish(folder, process) for folder, process in zip(folders, processes, strict=True)
            ]

            assert sorted(result.exit_code for result in results) == [
                ExitCode.OK,
                ExitCode.LOCKED,
            ], [result.stderr for result in results]
            cluster.wait_until_equal()
            assert run_cli(folders[0], environments[0], "run").exit_code == ExitCode.OK
            assert second.run("SELECT COUNT(*), MAX(id) FROM customers", name=NAME) == [
                (NUMBER, NUMBER)
            ]
            ((inserted,),) = first.run("SELECT SUM(inserted) FROM etl_runs", name=NAME)
            assert inserted == NUMBER
    except NoGaleraError as error:
        pytest.fail(str(error))
