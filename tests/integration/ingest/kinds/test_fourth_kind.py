"""The example in docs/sources.md of a kind that does not exist yet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.ingest import models
from integration.ingest.kinds.json_text import loads
from tests.support.readers import good, malformed, read

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "sources.md"


@pytest.fixture(name="reader_of")
def reader_of_fixture() -> Callable[[Path], models.Reader]:
    """The class of the document."""
    found = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    names: dict[str, Any] = {"loads": loads, **vars(models)}
    exec("from __future__ import annotations\n" + found[1], names)
    reader: Callable[[Path], models.Reader] = names["FolderReader"]
    return reader


def test_the_kind_of_the_document_reads_continues_and_decodes_again(
    tmp_path: Path, reader_of: Callable[[Path], models.Reader]
) -> None:
    """What every reader has to do."""
    for number in range(250):
        (tmp_path / f"{number:03}.json").write_text(f'{{\n"id": {number}}}')
    (tmp_path / "100.json").write_text("[1]")
    reader = reader_of(tmp_path)

    pages = read(reader)

    assert len(good(pages)) == 249
    assert [bad.reason for bad in malformed(pages)] == ["not an object"]
    assert [page.is_last for page in pages] == [False, False, True]
    assert all(reader.records_of(p.content, p.origin) == p.records for p in pages)
    assert len(good(read(reader, pages[1].position))) == 50
    assert read(reader, pages[2].position) == []
    assert len(good(read(reader, pages[2].position, full_refresh=True, limit=7))) == 7
    reader.close()
