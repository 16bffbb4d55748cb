"""Finding and masking a person's addresses and name in texts."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.core.personal_data import Person, PersonalData, mask_of

EMAIL = "zoë.o+x@example.com"
PERSON = Person(frozenset({EMAIL}), frozenset({("Zoë", "Öberg")}), frozenset({7}))
DATA = PersonalData(PERSON)


@pytest.mark.parametrize(
    "text",
    [
        EMAIL,
        EMAIL.upper(),
        f"Status 400 for {EMAIL}",
        f"<{EMAIL}>.",
        json.dumps({"email": EMAIL}),
        json.dumps({"email": EMAIL.upper()}),
        f"/api/users/{quote(EMAIL)}?x=1",
        f"before\\n{EMAIL}",
        "Zoë Öberg",
        "Öberg,Zoë",
        '{"first_name":"ZOË","last_name":"ÖBERG"}',
        json.dumps({"first_name": "Zoë", "last_name": "Öberg"}),
    ],
)
def test_a_mention_is_found_and_masked_at_its_length(text: str) -> None:
    """However it is written; the line keeps its size in bytes."""
    masked = DATA.mask_line(text)

    assert DATA.mentions(text)
    assert not DATA.mentions(masked)
    assert len(masked.encode()) == len(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        f"a{EMAIL}",
        f"{EMAIL}.au",
        f"{EMAIL}munity",
        "Zoë",
        "Zoë and, in another sentence that is quite long, Ms Öberg",
        "Zoëlla Öberg",
        "",
    ],
)
def test_other_peoples_data_stays(text: str) -> None:
    """A longer address is another one; a first name alone may be anyone's."""
    assert DATA.mask_line(text) == text


def test_a_name_is_masked_in_lines_with_the_address_only() -> None:
    """Elsewhere it may be another person's."""
    assert DATA.mask_line(f"Zoë wrote: {EMAIL}") == f"**** wrote: {mask_of(20)}"
    assert DATA.mask_emails(f"Zoë wrote: {EMAIL}") == f"Zoë wrote: {mask_of(20)}"
    assert DATA.mask_line("Zoë wrote") == "Zoë wrote"


@given(st.integers(1, 200))
def test_a_mask_has_any_length(size: int) -> None:
    """And says what it is if there is room."""
    mask = mask_of(size)
    assert len(mask.encode()) == size
    assert ("erased" in mask) == (size >= 8)


@given(st.binary())
def test_bytes_that_are_no_text_stay(line: bytes) -> None:
    """A log may have any."""
    assert DATA.mask_bytes(line) == line


def test_without_names_only_addresses_are_masked() -> None:
    """An empty or one-letter name would be found everywhere."""
    data = PersonalData(Person(frozenset({"a@x.com"}), frozenset({("", ""), ("B", "")})))
    assert data.mask_line("B: a@x.com") == "B: *******"


def test_ids_are_compared_as_numbers_and_as_text() -> None:
    """Files have text."""
    assert PERSON.has_id("7")
    assert PERSON.has_id(7)
    assert not PERSON.has_id("77")
