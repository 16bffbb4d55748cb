"""The types of a project's fields: each is fixed by the field's first value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.answers import RefusedError, types_mismatched

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_KINDS: dict[type, str | None] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): None,  # null clears a field of any type and fixes none
}
_INCOMING = {"string": ["string", "keyword"]}


class Schema:
    """The fields of the users, or of the events of one name."""

    def __init__(self, category: str) -> None:
        self.types: dict[str, str] = {}
        self._category = category
        self._accepted: set[tuple[object, ...]] = set()

    def check(self, data: dict[str, Any], learned: dict[str, str]) -> None:
        """Compare a record with the known types and those `learned` in this call so far.

        Raises:
            RefusedError: 400 RequestFieldsTypesMismatched.
        """
        # Types never change once they are learned: what was accepted then always is.
        shape = (*data, *map(type, data.values()))
        if shape in self._accepted:
            return
        errors: dict[str, dict[str, Any]] = {}
        for name, value in data.items():
            kind = _KINDS[type(value)]
            if kind is None:
                continue
            expected = self.types.get(name) or learned.setdefault(name, kind)
            if expected != kind:
                errors[name] = mismatch(kind, expected, value, self._category)
        if errors:
            raise RefusedError(types_mismatched(errors))
        if self.types.keys() >= {name for name, value in data.items() if value is not None}:
            self._accepted.add(shape)

    def learn(self, learned: dict[str, str]) -> list[str]:
        """Fix the types of new fields; return their names."""
        self.types.update(learned)
        return list(learned)


def mismatch(kind: str, expected: str, value: object, category: str) -> dict[str, Any]:
    """Return the entry of `validationErrors` for one field, in the recorded form."""
    return {
        "incomingTypes": _INCOMING.get(kind, [kind]),
        "expectedType": expected,
        "offendingValue": value,
        "category": category,
    }


def without_unknown(
    data: dict[str, Any], allowed: AbstractSet[str], dropped: set[str]
) -> dict[str, Any]:
    """Return the allowed fields of a record, and note the names of the others."""
    unknown = data.keys() - allowed
    if not unknown:
        return data
    dropped |= unknown
    return {name: value for name, value in data.items() if name not in unknown}
