"""Links of the pages: they keep the mask and the filter. Pure."""

from typing import Any
from urllib.parse import urlencode

from integration.service import cursors
from integration.service.parameters import ListParameters


def suffix_of(is_masked: object) -> str:
    """What a link has at its end."""
    return "?masked=1" if is_masked else ""


def next_href(
    path: str,
    parameters: ListParameters,
    keys: tuple[int, ...] | None,
    filters: dict[str, Any],
) -> str | None:
    """Where the next page of a list is, or None if there is none."""
    if not keys:
        return None
    given = parameters.model_dump(mode="json", exclude_unset=True, exclude={"cursor", "masked"})
    given |= {"masked": 1} if parameters.masked else {}
    given = {name: value for name, value in given.items() if value is not None}
    return f"{path}?{urlencode(given | {'cursor': cursors.encode(keys, filters)})}"
