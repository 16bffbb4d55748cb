"""What identifies a person, and how to find and mask it in texts. Pure.

A mask has the length of what it replaces, in bytes of UTF-8: a file can be overwritten in place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integration.core.redaction import written_forms

if TYPE_CHECKING:
    from collections.abc import Iterable

ERASED = "erased"
# One letter is no name that could be searched for.
MIN_NAME = 2
# In JSON, some twenty characters are between a first and a last name.
_MAX_BETWEEN_NAMES = 40
# An address ends where no character of an address follows. An escaped line break, or what is
# percent-encoded in a URL, may precede it.
_BEFORE = r"(?:(?<![\w.+-])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"
_AFTER = r"(?![\w-]|\.\w)"
_SURROGATES = "surrogateescape"


@dataclass(frozen=True, slots=True)
class Person:
    """What a person is known by.

    Attributes:
        emails: in lower case.
        names: first and last name; one of them may be empty.
        ids: of their customers.
        keys: names of sources with their keys of the customer.
    """

    emails: frozenset[str]
    names: frozenset[tuple[str, str]] = frozenset()
    ids: frozenset[int | str] = frozenset()
    keys: frozenset[tuple[str, str]] = frozenset()

    def __or__(self, other: Person) -> Person:
        """All that either is known by."""
        return Person(
            self.emails | other.emails,
            self.names | other.names,
            self.ids | other.ids,
            self.keys | other.keys,
        )

    def has_email(self, value: object) -> bool:
        """Whether a value is one of the addresses, in any case."""
        return isinstance(value, str) and value.strip().lower() in self.emails

    def has_id(self, value: object) -> bool:
        """Whether a value is one of the ids, as a number or as text."""
        return value in self.ids or str(value).strip() in map(str, self.ids)


def mask_of(size: int) -> str:
    """What replaces so many bytes."""
    return f"[{ERASED}{'.' * (size - len(ERASED) - 2)}]" if size > len(ERASED) + 1 else "*" * size


class PersonalData:
    """Finds a person's addresses and name in texts."""

    def __init__(self, person: Person) -> None:
        names = {name for pair in person.names for name in pair}
        # A text without any of these has no match. Searching for them is much faster.
        self._email_marks = _forms(person.emails, 1)
        self._marks = [*self._email_marks, *_forms(names, MIN_NAME)]
        emails = _alternatives(person.emails, 1)
        self._emails = re.compile(f"{_BEFORE}(?:{emails}){_AFTER}", re.IGNORECASE)
        single = _alternatives(names, MIN_NAME)
        self._names = re.compile(rf"(?<!\w)(?:{single})(?!\w)", re.IGNORECASE)
        self._full_names = re.compile(_full_names(person.names), re.IGNORECASE)

    def mentions(self, text: str) -> bool:
        """Whether a text has one of the addresses, or the first name close to the last."""
        return _has_any(text, self._marks) and bool(
            self._emails.search(text) or self._full_names.search(text)
        )

    def mask_emails(self, text: str) -> str:
        """The text without the addresses."""
        return self._emails.sub(_mask, text) if _has_any(text, self._email_marks) else text

    def mask_full_names(self, text: str) -> str:
        """The text without the names that are close to each other."""
        return self._full_names.sub(lambda match: self._names.sub(_mask, match.group()), text)

    def mask_line(self, line: str) -> str:
        """A line that mentions the person without the addresses and all names; others as is."""
        return self._names.sub(_mask, self.mask_emails(line)) if self.mentions(line) else line

    def mask_bytes(self, line: bytes) -> bytes:
        """The same for a line of a file."""
        text = line.decode(errors=_SURROGATES)
        return self.mask_line(text).encode(errors=_SURROGATES)


def _mask(match: re.Match[str]) -> str:
    return mask_of(len(match.group().encode(errors=_SURROGATES)))


def _has_any(text: str, marks: Iterable[str]) -> bool:
    lowered = text.lower()
    return any(mark in lowered for mark in marks)


def _forms(values: Iterable[str], min_length: int) -> list[str]:
    """All written forms of these values in lower case, longest first."""
    cased = {case for value in values for case in (value, value.lower(), value.upper())}
    forms = {form.lower() for value in cased for form in written_forms(value, min_length)}
    return sorted(forms, key=lambda form: (-len(form), form))


def _alternatives(values: Iterable[str], min_length: int) -> str:
    """A pattern of all written forms of these values; of nothing if there are none."""
    return "|".join(map(re.escape, _forms(values, min_length))) or "(?!)"


def _full_names(names: Iterable[tuple[str, str]]) -> str:
    pairs = []
    for first, last in names:
        one, other = (_alternatives([name], MIN_NAME) for name in (first, last))
        for before, after in ((one, other), (other, one)):
            gap = rf".{{0,{_MAX_BETWEEN_NAMES}}}?"
            pairs.append(rf"(?<!\w)(?:{before})(?!\w){gap}(?<!\w)(?:{after})(?!\w)")
    return "|".join(pairs) or "(?!)"
