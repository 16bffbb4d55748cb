"""Which users of a run are in a newer run, too.

The newest run that has a customer has the newest data, so older runs neither send that customer
nor count them as pending. A customer is known by id and, since a profile in Iterable is one
email, by email: an address may have moved to another id meanwhile.
"""

from __future__ import annotations


def _is_in(view: str, condition: str = "") -> str:
    """SQL: whether a user, by customer or email, is in a run newer than :run for :projects."""
    newer = f"FROM {view} n WHERE n.run > :run AND n.project GLOB :projects{condition}"
    return (
        f"(customer_id IN (SELECT n.customer_id {newer})"
        f" OR (email_key IS NOT NULL AND email_key IN (SELECT n.email_key {newer}"
        " AND n.email_key IS NOT NULL)))"
    )


IN_NEWER_RUN = _is_in("loaded_users")
# In one other than :but.
IN_ANOTHER_NEWER_RUN = _is_in("loaded_users", " AND n.run != :but")
DELIVERED_BY_NEWER_RUN = _is_in("delivered_users")
