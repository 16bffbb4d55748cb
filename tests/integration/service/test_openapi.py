"""Requests made from the OpenAPI document: whatever they are, the answers are as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from integration.service.json_paths import PATHS
from tests.support.window import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from db_connection import DatabaseSettings
    from tests.support.window import Window

EXAMPLES = 20


@pytest.fixture(scope="module")
def running(sqlite_filled: tuple[Path, DatabaseSettings]) -> Iterator[Window]:
    """A window without a token."""
    with serving(*sqlite_filled) as window:
        yield window


@pytest.mark.parametrize("path", [path.replace(":path", "") for path, _, _ in PATHS])
def test_every_answer_is_as_the_document_says(running: Window, path: str) -> None:
    """Status, media type and content, for parameters that it allows; none is a 500."""
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    operation = schema[path]["GET"]
    # A text that is none of its cursors is a wrong value, too; and the delivery is unhealthy.
    excluded = [positive_data_acceptance, *([not_a_server_error] if path == "/health" else [])]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        response = case.call()
        case.validate_response(response, excluded_checks=excluded)

    check()
