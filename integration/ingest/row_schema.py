"""The columns of `customers` and `page_views` as schemas of pydantic's core.

They are written for the core and not as classes, because each source has its own paths: the core
reads every field where it is, and one call checks a page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import SchemaValidator, core_schema

from integration.ingest.mapping import KEY_FIELD, alias_of
from integration.ingest.sources import REFERENCE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import CoreSchema

    from integration.ingest.sources import BaseSource

PLAN_TYPES = ("free", "basic", "pro", "enterprise")
PAGES = ("pricing", "settings", "features", "home", "blog")
DEVICES = ("mobile", "desktop", "tablet")
MAX_EMAIL = 255
MAX_ID = 2_147_483_647
# Of a source's own key, in characters.
MAX_KEY = 255
MAX_KEY_NUMBER = 10**18

_CODES_OF_VALUES = frozenset({"type", "too_long", "not_allowed", "out_of_range"})
_NO_NUL = r"^[^\x00]*$"
# One @ and no space: what a delivery needs.
_EMAIL = r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$"


def page_validator(source: BaseSource) -> SchemaValidator:
    """The validator of a page: a list of records → a list of dicts with our fields."""
    schemas = _customer_schemas(source) if source.entity == "customers" else _view_schemas(source)
    fields = {
        name: core_schema.typed_dict_field(
            schema, required=schema["type"] != "nullable", validation_alias=alias_of(path)
        )
        for name, (path, schema) in schemas.items()
    }
    # Fields are named as ours in errors; a number is a time in seconds and never in milliseconds.
    config = core_schema.CoreConfig(loc_by_alias=False)
    config["val_temporal_unit"] = "seconds"  # type: ignore[typeddict-unknown-key]  # it is known
    record = core_schema.typed_dict_schema(fields, extra_behavior="ignore", config=config)
    return SchemaValidator(core_schema.list_schema(record), config)


def expected_text(field: str) -> str:
    """What an operator is told about a field with a value that cannot be stored."""
    return _EXPECTED[field]


def requirements(rejected: Iterable[tuple[str, str | None]]) -> list[str]:
    """What values these fields must have, for codes that say no more than that they have not.

    Args:
        rejected: codes with our names of the fields.
    """
    fields = dict.fromkeys(field for code, field in rejected if code in _CODES_OF_VALUES)
    return [f"{field} must be {_EXPECTED[field]}" for field in fields if field in _EXPECTED]


def _customer_schemas(source: BaseSource) -> dict[str, tuple[str, CoreSchema]]:
    schemas = {
        "email": _email(),
        "first_name": _text(100),
        "last_name": _text(100),
        "plan_type": _one_of(*PLAN_TYPES),
        "candidate": _text(100),
    }
    return _key_schemas(source) | {
        name: (source.paths[name], schema) for name, schema in schemas.items()
    }


def _view_schemas(source: BaseSource) -> dict[str, tuple[str, CoreSchema]]:
    references = {"id": _id(), "key": _key(), "email": _email()}
    reference = REFERENCE_FIELDS[source.customer]
    schemas = {
        reference: references[source.customer],
        "page": _one_of(*PAGES),
        "device": core_schema.nullable_schema(_one_of(*DEVICES, "")),
        "browser": _text(100),
        "location": _text(255),
        "event_time": core_schema.datetime_schema(),
    }
    return _key_schemas(source) | {
        name: (source.paths[name], schema) for name, schema in schemas.items()
    }


def _key_schemas(source: BaseSource) -> dict[str, tuple[str, CoreSchema]]:
    if source.key is None:
        return {}
    return {"id": (source.key, _id())} if source.owns_ids else {KEY_FIELD: (source.key, _key())}


def _text(max_length: int) -> CoreSchema:
    """Text or NULL; lengths are counted in code points, as MySQL does."""
    text = core_schema.str_schema(strict=True, max_length=max_length, pattern=_NO_NUL)
    return core_schema.nullable_schema(text)


def _email() -> CoreSchema:
    return core_schema.str_schema(
        strict=True, strip_whitespace=True, max_length=MAX_EMAIL, pattern=_EMAIL
    )


def _one_of(*words: str) -> CoreSchema:
    """A value of an ENUM, in whatever case, as MySQL compares it."""
    text = core_schema.str_schema(strict=True, strip_whitespace=True, to_lower=True)
    return core_schema.chain_schema([text, core_schema.literal_schema(list(words))])


def _id() -> CoreSchema:
    """A number, or its digits as text; neither a truth value nor a fraction."""
    digits = core_schema.str_schema(strict=True, strip_whitespace=True, pattern=r"^-?[0-9]+$")
    parsed = core_schema.int_schema(ge=1, le=MAX_ID)
    number = core_schema.int_schema(strict=True, ge=1, le=MAX_ID)
    # Text first: it is the slower branch, and a number fails there at once.
    text = core_schema.chain_schema([digits, parsed])
    return core_schema.union_schema([text, number], mode="left_to_right")


def _key() -> CoreSchema:
    """Text or a whole number."""
    number = core_schema.int_schema(strict=True, ge=-MAX_KEY_NUMBER, le=MAX_KEY_NUMBER)
    text = core_schema.str_schema(
        strict=True, strip_whitespace=True, min_length=1, max_length=MAX_KEY, pattern=_NO_NUL
    )
    return core_schema.union_schema([text, number], mode="left_to_right")


_EXPECTED = {
    "id": f"a whole number from 1 to {MAX_ID}",
    KEY_FIELD: f"a whole number, or text of at most {MAX_KEY} characters",
    "email": f"an email address of at most {MAX_EMAIL} characters",
    "first_name": "text of at most 100 characters",
    "last_name": "text of at most 100 characters",
    "plan_type": "one of " + ", ".join(PLAN_TYPES),
    "candidate": "text of at most 100 characters",
    "user_id": f"a whole number from 1 to {MAX_ID}",
    "customer_key": f"a whole number, or text of at most {MAX_KEY} characters",
    "page": "one of " + ", ".join(PAGES),
    "device": "one of " + ", ".join(DEVICES),
    "browser": "text of at most 100 characters",
    "location": "text of at most 255 characters",
    "event_time": "an ISO 8601 time or Unix seconds, from 1970-01-01 00:00:01 to"
    " 2038-01-19 03:14:07 UTC",
}
