"""A mock source for the tests of the readers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from sandbox.source import SourceOptions, SourceProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def source_process() -> Iterator[SourceProcess]:
    """One server for all tests of this process."""
    with SourceProcess() as process:
        yield process


@pytest.fixture
def source(source_process: SourceProcess) -> SourceProcess:
    """A source with ten customers and twenty page views, without faults."""
    source_process.configure(**asdict(SourceOptions(customers=10, page_views=20)))
    source_process.reset()
    return source_process
