"""What is hidden on a screen that others can see."""

from __future__ import annotations

from integration.service.masking import mask_email, mask_name, masked


def test_an_email_keeps_its_first_letter_and_domain() -> None:
    """An email keeps its first letter and domain."""
    assert mask_email("ada@example.com") == "a…@example.com"
    assert mask_email("no address") == "n…"
    assert mask_email("") == ""


def test_a_name_keeps_its_first_letter() -> None:
    """A name keeps its first letter."""
    assert mask_name("Ada") == "A…"
    assert mask_name("") == ""


def test_other_values_of_a_row_stay() -> None:
    """Other values of a row stay."""
    row = {
        "id": 7,
        "email": "ada@example.com",
        "first_name": None,
        "last_name": "L",
        "page": "pricing",
    }

    assert masked(row) == {
        "id": 7,
        "email": "a…@example.com",
        "first_name": None,
        "last_name": "L…",
        "page": "pricing",
    }
