"""One statement of a file of queries: where it starts and where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.database.query_file import SqlFileError, find_query

if TYPE_CHECKING:
    from tests.support.mysql_server import MySQLServer

SEMICOLONS = [
    pytest.param("SELECT 1 -- all pro users; the newest view\n", id="dashes"),
    pytest.param("SELECT 1 --\t;\n", id="dashes and a tab"),
    pytest.param("SELECT 1 --\n+ 2", id="dashes at the end of a line"),
    pytest.param("SELECT 1 # all; of them\n", id="hash"),
    pytest.param("SELECT 1 /* one; two\n;three */", id="block"),
    pytest.param("SELECT /*! 1; */ 2", id="conditional"),
    pytest.param("SELECT /*+ MAX_EXECUTION_TIME(9);*/ 2", id="hint"),
    pytest.param("SELECT 'a;b'", id="single quotes"),
    pytest.param("SELECT 'it''s; \\'; \\\\'", id="escapes in single quotes"),
    pytest.param('SELECT "a;b""; \\";"', id="double quotes"),
    pytest.param("SELECT `a;``;` FROM t", id="backticks"),
    pytest.param("SELECT '-- ', '/*;', \"#;\", `/*`, '*/;'", id="comments in literals"),
    pytest.param("SELECT 1 -- it's; a 'quote\n", id="a quote in a comment"),
    pytest.param("SELECT 1 # /* no; block\n", id="a block in a line"),
    pytest.param("SELECT 1 /* -- ' ; */ + 1", id="a line in a block"),
    pytest.param("SELECT '\\\\', ';'", id="an escaped backslash at the end of a literal"),
]


@pytest.mark.parametrize("statement", SEMICOLONS)
def test_a_semicolon_in_a_comment_or_literal_ends_nothing(statement: str) -> None:
    """The statement is complete and unchanged."""
    text = f"-- Query 1: other\nSELECT 'first';\n-- Query 2: this\n{statement};\n"
    assert find_query(text, 2) == statement.strip()


@pytest.mark.parametrize("statement", ["SELECT 5--3", "SELECT 5--`a`", "SELECT 5/2", "SELECT a-b"])
def test_what_only_looks_like_a_comment_hides_no_semicolon(statement: str) -> None:
    """MySQL treats two dashes as a comment only before whitespace."""
    assert find_query(f"-- Query 2: this\n{statement}; -- done\n", 2) == statement


def test_comments_above_a_statement_are_not_part_of_it() -> None:
    """The heading continues over several lines; a hint for the server is not a comment."""
    text = "-- Query 2: this\n-- and; more\n# and\n/* and; */\n\n/*! SELECT */ 1;"
    assert find_query(text, 2) == "/*! SELECT */ 1"


@pytest.mark.parametrize(
    "text",
    [
        "/*\n-- Query 2: old\nSELECT 'old';\n*/\n-- Query 2: new\nSELECT 'new';",
        "SELECT '\n-- Query 2: no heading\n';\n-- Query 2: new\nSELECT 'new';",
        "SELECT 1 -- Query 2: not at the start of a line\n;\n-- Query 2: new\nSELECT 'new';",
        "-- Query 2: new\nSELECT 'new';\n/*\n-- Query 2: old\nSELECT 'old';\n*/",
    ],
)
def test_a_heading_is_a_separate_comment(text: str) -> None:
    """A query that is commented out, or inside a literal, is not found."""
    assert find_query(text, 2) == "SELECT 'new'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1;", "has no line '-- Query 2: ...'"),
        ("-- Query 2: nothing\n", "no complete statement below '-- Query 2: ...'"),
        ("-- Query 2: cut off\nSELECT 1\n", "no complete statement"),
        ("-- Query 2: none of its own\n-- Query 3: other\nSELECT 3;\n", "no complete statement"),
        ("-- Query 2: only comments\n-- a\n/* b; */;\n", "no complete statement"),
        ("-- Query 2: open\nSELECT 'a;\n", "no complete statement"),
        ("-- Query 2: open\nSELECT 1 /* a;\n", "no complete statement"),
        ("-- Query 2: open\nSELECT `a;\n", "no complete statement"),
        ("-- Query 2: open\nSELECT 'a\\';\n", "no complete statement"),
        ("-- Query 2: open\nSELECT 'a;\\", "no complete statement"),
        ("-- Query 2: a\nSELECT 1;\nSELECT 2;\n", "more than one statement below"),
        ("-- Query 2: a\nSELECT 1; SELECT 2\n-- Query 3:\n", "more than one statement below"),
        ("-- Query 2: a\nSELECT 1;\n/*! SELECT 2 */;\n", "more than one statement below"),
        ("-- Query 2: a\nSELECT 1;\n-- Query 2: b\nSELECT 2;\n", "two lines '-- Query 2: ...'"),
    ],
)
def test_a_missing_or_ambiguous_statement_is_refused(text: str, message: str) -> None:
    """Missing, cut off, or ambiguous: never some other statement."""
    with pytest.raises(SqlFileError, match=message):
        find_query(text, 2)


@pytest.mark.parametrize("rest", ["", "\n", " ;\n", "\n-- done; really\n/* ; */\n# ;"])
def test_comments_may_follow_the_statement(rest: str) -> None:
    """Only another statement makes it ambiguous."""
    assert find_query(f"-- Query 2: this\nSELECT 1;{rest}", 2) == "SELECT 1"


TEXT = st.text(st.sampled_from(";'\"`\\/*-#!+ \nab-Query 2:"), max_size=12)


def _quoted(quote: str) -> st.SearchStrategy[str]:
    """A literal with any text, its quotes doubled and backslashes escaped."""
    return TEXT.map(lambda t: quote + t.replace("\\", "\\\\").replace(quote, quote * 2) + quote)


LITERALS = st.one_of(
    _quoted("'"),
    _quoted('"'),
    TEXT.map(lambda t: "'" + t.replace("\\", "\\\\").replace("'", "\\'") + "'"),
)
COMMENTS = st.one_of(
    TEXT.map(lambda t: "-- " + t.replace("\n", " ") + "\n"),
    TEXT.map(lambda t: "#" + t.replace("\n", " ") + "\n"),
    # No "*/" in it, and neither "/*!" nor "/*+" nor "/*M!" at its start.
    TEXT.map(lambda t: "/* " + t.replace("*", "x") + "*/"),
)
SPACES = st.sampled_from([" ", "\n", "\t"])
# Before each literal a space: two adjacent ones are a single one in MySQL, 'a''b'.
GAPS = st.lists(st.one_of(SPACES, COMMENTS), max_size=3).map(lambda gap: " " + "".join(gap))
COLUMNS = st.lists(st.tuples(GAPS, LITERALS, GAPS), min_size=1, max_size=4)


def _select(columns: list[tuple[str, str, str]]) -> str:
    return "SELECT" + ",".join(before + literal + after for before, literal, after in columns)


@given(COLUMNS, st.lists(st.one_of(SPACES, COMMENTS), max_size=3))
def test_the_statement_is_complete_whatever_comments_and_literals_contain(
    columns: list[tuple[str, str, str]], rest: list[str]
) -> None:
    """It ends at the semicolon after it, for any content of any comment or literal."""
    statement = _select(columns)
    text = f"-- Query 2: this\n{statement};{''.join(rest)}\n-- Query 3: other\nSELECT 3;\n"
    assert find_query(text, 2) == statement.strip()


def test_a_server_reads_the_statement_as_it_would_read_the_file(mysql_server: MySQLServer) -> None:
    """With or without comments, a real server returns the same values."""
    with mysql_server.connected() as connection, connection.cursor(buffered=True) as cursor:

        def values(sql: str) -> tuple[object, ...]:
            cursor.execute(sql)
            row: tuple[object, ...] = cursor.fetchone()
            return row

        @given(COLUMNS)
        def compare(columns: list[tuple[str, str, str]]) -> None:
            commented = find_query(f"-- Query 2: this\n{_select(columns)};\n", 2)
            bare = _select([(" ", literal, "") for _, literal, _ in columns])
            assert values(commented) == values(bare)

        compare()
