"""Cursors survive their trip through a client, and nothing else is taken for one."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.service.cursors import decode, encode
from integration.service.problems import Problem

FILTER = {"entity": "customers", "search": None}


@given(st.integers(0, 2**63 - 1), st.integers(0, 10_001))
def test_a_cursor_is_read_as_it_was_written(last: int, total: int) -> None:
    """A cursor is read as it was written."""
    assert decode(encode((last, total), FILTER), 2, FILTER) == (last, total)


@given(st.text(max_size=60))
def test_other_text_is_a_problem_of_the_parameter(text: str) -> None:
    """Other text is a problem of the parameter."""
    with pytest.raises(Problem) as raised:
        decode(text, 2, FILTER)

    assert raised.value.status == 422
    assert raised.value.errors[0][0] == "cursor"


@pytest.mark.parametrize("content", ['[1.5,2,"x"]', '[true,2,"x"]', '[-1,2,"x"]', '{"a":1}', "[1]"])
def test_a_forged_cursor_is_a_problem(content: str) -> None:
    """A forged cursor is a problem."""
    with pytest.raises(Problem, match="not a next_cursor"):
        decode(urlsafe_b64encode(content.encode()).decode(), 2, FILTER)


def test_a_cursor_of_another_filter_is_a_problem() -> None:
    """A cursor of another filter is a problem."""
    cursor = encode((7, 9), FILTER)

    with pytest.raises(Problem, match="another filter"):
        decode(cursor, 2, {**FILTER, "search": "a"})


def test_what_is_not_given_does_not_count() -> None:
    """What is not given does not count."""
    cursor = encode((7, 9), FILTER)

    assert decode(cursor, 2, {"entity": "customers", "plan_type": None}) == (7, 9)
