"""How a sandbox behaves: one frozen value, shared by its command line and `SandboxProcess`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, NonNegativeFloat
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DEFAULT_API_KEY = "sandbox-key"


def _number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _number_or_off(value: object) -> object:
    return 0.0 if value == "off" else value


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class SandboxOptions:
    """What the mock server accepts and how fast; each field is also a command line option."""

    api_key: Annotated[str, Field(description="the Api-Key header it accepts")] = DEFAULT_API_KEY
    jwt_secret: Annotated[
        str, Field(description="demand an HS256 token signed with this secret beside the key")
    ] = ""
    jwt_bulk_status: Annotated[
        Literal[401, 403],
        BeforeValidator(_number),
        Field(description="how a JWT key's bulk calls and reads are refused: 401 or 403"),
    ] = 403
    forbid_bulk: Annotated[bool, Field(description="refuse bulk calls with 403 Forbidden")] = False
    limits: Annotated[
        NonNegativeFloat,
        BeforeValidator(_number_or_off),
        Field(description="published rate limits times this: 1 as they are, 0 or off for none"),
    ] = 0.0
    burst_seconds: Annotated[
        NonNegativeFloat, Field(description="how far ahead of its rate an endpoint may be called")
    ] = 0.1
    retry_after: Annotated[bool, Field(description="send Retry-After with a 429")] = False
    rate_limit_reset: Annotated[
        bool, Field(description="send params.rateLimitReset (seconds) with a 429")
    ] = False
    latency: Annotated[
        NonNegativeFloat, Field(description="seconds between a call and its answer")
    ] = 0.0
    project_fields: Annotated[
        tuple[str, ...], Field(description="the only fields that the project takes (none: all)")
    ] = ()
    disallowed_events: Annotated[
        tuple[str, ...], Field(description="event names that are not stored")
    ] = ()

    def changed(self, changes: dict[str, Any]) -> SandboxOptions:
        """Return these options with some replaced.

        Raises:
            pydantic.ValidationError: a value does not fit its option.
            TypeError: there is no such option.
        """
        return replace(self, **changes)

    def to_arguments(self) -> list[str]:
        """Return the command line of `python -m sandbox` that gives these options."""
        return arguments_of(self)


def arguments_of(options: DataclassInstance) -> list[str]:
    """Return the command line options that give these values."""
    arguments: list[str] = []
    for field in fields(options):
        flag, value = flag_of(field.name), getattr(options, field.name)
        if isinstance(value, bool):
            arguments += [flag] if value else []
        elif isinstance(value, tuple):
            arguments += [f"{flag}={','.join(value)}"] if value else []
        else:
            arguments.append(f"{flag}={value}")
    return arguments


def flag_of(name: str) -> str:
    """Return the command line option of a field of the options."""
    return "--" + name.replace("_", "-")


def descriptions(options_type: type[DataclassInstance]) -> dict[str, str]:
    """Return what each option means, by its field's name."""
    hints = get_type_hints(options_type, include_extras=True)
    return {
        name: next(note.description or "" for note in get_args(hint) if isinstance(note, FieldInfo))
        for name, hint in hints.items()
        if get_origin(hint) is Annotated
    }
