"""Variables → the typed fields of a settings class.

ConfigurationError    exit 78: the message names the variable to fix
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from integration.core.errors import AppError
from integration.core.exit_codes import ExitCode
from integration.core.redaction import SecretMask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet
    from dataclasses import Field


class ConfigurationError(AppError):
    """The program cannot run with these settings; the message says what to fix."""

    exit_code = ExitCode.CONFIGURATION


def accepts(convert: Callable[[str], object], expected: str) -> dict[str, Any]:
    """The metadata of a setting.

    Args:
        convert: text to value; raises ValueError for text that it cannot use.
        expected: what an error message says was expected.
    """
    return {"convert": convert, "expected": expected}


def converted(
    values: Mapping[str, str],
    used: Mapping[str, Field[Any]],
    secret: AbstractSet[str],
) -> dict[str, Any]:
    """The typed values of the variables that are set, by field name.

    Args:
        values: the variables.
        used: the fields to convert, by variable.
        secret: the variables whose values are never shown.

    Raises:
        ConfigurationError: some do not parse.
    """
    texts = {name: values[name] for name in used if name in values}
    _check_characters(texts)
    found, invalid = {}, []
    for name, text in texts.items():
        try:
            found[name.lower()] = used[name].metadata["convert"](text)
        except ValueError:
            invalid.append(name)
    if invalid:
        # A secret may have been put into the wrong variable.
        mask = SecretMask(values[name] for name in secret if name in values)
        errors = [_value_error(name, texts[name], used[name], secret) for name in sorted(invalid)]
        raise ConfigurationError(mask("; ".join(errors)))
    return found


def _check_characters(texts: Mapping[str, str]) -> None:
    undecodable = [name for name, text in texts.items() if not is_text(text)]
    if undecodable:
        raise ConfigurationError(f"Not valid UTF-8: {', '.join(undecodable)}")
    with_nul = [name for name, text in texts.items() if "\0" in text]
    if with_nul:
        raise ConfigurationError(f"Has a NUL character: {', '.join(with_nul)}")


def is_text(value: str) -> bool:
    """Whether all bytes of the value could be decoded."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _value_error(name: str, text: str, setting: Field[Any], secret: AbstractSet[str]) -> str:
    # An address with an @ may contain a password, and the options of an engine a token.
    hidden = name in secret or "@" in text or name == "DB_OPTIONS"
    shown = "a value that is not shown" if hidden else repr(text)
    return f"{name} is {shown}, expected {setting.metadata['expected']}"
