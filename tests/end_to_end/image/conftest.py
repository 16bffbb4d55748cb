"""Collected by `make test-image` only: building the image takes a minute, and root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.image import Image, built_image, missing_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

collect_ignore_glob = [] if os.environ.get("TEST_IMAGE") == "1" else ["test_*.py"]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image of this checkout."""
    if problem := missing_tools():
        pytest.fail(problem)
    with built_image(tmp_path_factory.mktemp("image")) as built:
        yield built
