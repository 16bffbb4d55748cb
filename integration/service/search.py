"""The page's search: customers whose email or name begins so."""

from integration.database.errors import DatabaseError
from integration.service.masking import mask_email
from integration.service.parameters import DataFilter
from integration.service.parts import Parts
from integration.service.rows import row_page
from integration.service.run_context import person_href

MATCHES_SHOWN = 20


def find_matches(parts: Parts, text: str) -> list[dict[str, object]]:
    """The first of them, as rows of `/data`."""
    chosen = DataFilter(search=text)
    try:
        found = row_page(parts, chosen, after=0, skip=0, limit=MATCHES_SHOWN, total=0)
    except DatabaseError:
        if "@" in text:  # the journal may have the address
            return []
        raise
    return found.items


def first_email(parts: Parts, otherwise: str) -> str:
    """That of the first customer, so that an example works."""
    try:
        found = row_page(parts, DataFilter(), after=0, skip=0, limit=1, total=0)
    except DatabaseError:
        return otherwise
    return str(found.items[0]["email"]) if found.items else otherwise


def match_context(one: dict[str, object], suffix: str, *, is_masked: bool) -> dict[str, object]:
    """One of them, as the template shows it."""
    name = " ".join(str(part) for part in (one["first_name"], one["last_name"]) if part)
    email = str(one["email"])
    return {
        "email": mask_email(email) if is_masked else email,
        "href": f"{person_href(email)}{suffix}",
        "name": mask_email(name) if is_masked else name,
        "plan": one["plan_type"],
    }
