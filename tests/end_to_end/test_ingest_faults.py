"""Every fault and every kind of source, with kills at random moments, as real processes."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from sandbox.source import SourceProcess
from sandbox.source.faults import FAULT_KINDS
from tests.support.ingest_faults.faults import FAULTS, KINDS, Combination, combinations
from tests.support.ingest_faults.play import Play, Surroundings
from tests.support.proxy import make_certificate
from tests.support.tls_front import tls_front

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# These are about one answer or about credentials, and have tests of their own.
NOT_HERE = {"too_large", "echo_secrets"}


@pytest.fixture(autouse=True)
def without_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the many processes run at full speed; other tests measure their coverage."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def around(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Surroundings]:
    """A mock source, also with TLS, and a database server."""
    with ExitStack() as stack:
        source = stack.enter_context(SourceProcess())
        certificate = make_certificate(tmp_path_factory.mktemp("certificate"), "localhost")
        port = stack.enter_context(tls_front(urlsplit(source.url).port or 0, certificate))
        server = request.getfixturevalue("mysql_server")
        yield Surroundings(source, f"https://localhost:{port}", certificate.file, server)
        server.drop_databases()


@pytest.mark.parametrize("combination", combinations(), ids=str)
def test_no_record_is_lost_or_stored_twice_whatever_fails_and_whenever_it_is_killed(
    tmp_path: Path, around: Surroundings, combination: Combination
) -> None:
    """After every process, rows, counts, rejections and checkpoint are those of the raw pages.

    In the end the table is that of an undisturbed load. A seed decides sizes, requests and kills.
    """
    play = Play(combination, tmp_path, around)

    assert play.play() == []

    assert play.kills > 0


def test_the_matrix_has_every_fault_of_the_mock_source_and_every_kind() -> None:
    """A fault added to the mock source is in the matrix from then on."""
    chosen = combinations()
    assert len(set(map(str, chosen))) == len(chosen) >= 60
    assert {one.kind for one in chosen} == set(KINDS)
    assert {name for one in chosen for name in (*one.harmless, one.ending) if name} == set(FAULTS)
    assert {"connection_lost", "deadlock", "busy"} <= {one.database for one in chosen}
    kinds = {str(fault.script["kind"]) for fault in FAULTS.values() if fault.script}
    assert kinds == set(FAULT_KINDS) - NOT_HERE
