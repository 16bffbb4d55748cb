"""The line of a key in a TOML text."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.ingest.toml_lines import key_lines, line_of

if TYPE_CHECKING:
    from integration.ingest.toml_lines import Key

TEXT = """\
# a comment = not a key
[sources.crm]
entity = "customers"
auth = { variable = "TOKEN" }
page_size.value = 10
  [ sources . "web" ]
\t'path' = [
    "a.csv",
]
[[list]]
x = 1
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("sources", "crm"), 2),
        (("sources", "crm", "entity"), 3),
        (("sources", "crm", "auth"), 4),
        (("sources", "crm", "auth", "variable"), 4),
        (("sources", "crm", "page_size", "value"), 5),
        (("sources", "crm", "url"), 2),
        (("sources", "crm", "page_size", "parameter"), 5),
        (("sources", "web"), 6),
        (("sources", "web", "path"), 7),
        (("list", "x"), 11),
        (("other",), None),
    ],
)
def test_the_line_is_that_of_the_key_or_of_the_table_around_it(key: Key, line: int | None) -> None:
    """A missing key, and one in an inline table, is reported where its table is."""
    assert line_of(key, key_lines(TEXT)) == line


def test_the_first_of_two_lines_counts() -> None:
    """The second one may stand in a multi-line string."""
    text = '[a]\nb = 1\nc = """\nb = 2\n"""\n'
    assert key_lines(text) == {("a",): 1, ("a", "b"): 2, ("a", "c"): 3}


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,5}", fullmatch=True)


@given(st.dictionaries(NAMES, st.lists(NAMES, unique=True, max_size=4), max_size=4), st.data())
def test_every_key_of_a_plain_file_is_found(
    tables: dict[str, list[str]], data: st.DataObject
) -> None:
    """Each on the line that it was written on."""
    lines: list[str] = []
    expected: dict[Key, int] = {}
    for table, keys in tables.items():
        lines += data.draw(st.lists(st.sampled_from(["", "# note"]), max_size=2))
        lines.append(f"[sources.{table}]")
        expected.setdefault(("sources",), len(lines))
        expected["sources", table] = len(lines)
        for key in keys:
            lines.append(f'"{key}" = 1')
            expected["sources", table, key] = len(lines)
    text = "\n".join(lines)
    tomllib.loads(text)

    assert key_lines(text) == expected
