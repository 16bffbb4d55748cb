"""Which users of a run are in a newer run, too.

The newest run that has a customer has the newest data, so older runs neither send that customer
nor count them as pending.
"""

from __future__ import annotations


def _is_in(view: str, condition: str = "") -> str:
    """SQL: whether a user, by customer_id and email, is in a run newer than :run for :projects.

    A customer id from a journal of version 2 may have been a text: one that was changed is
    identified by the email (a BLOB), one of digits only by both.
    """
    newer = f"FROM {view} n WHERE n.run > :run AND n.project GLOB :projects{condition}"
    return (
        f"(customer_id IN (SELECT n.customer_id {newer})"
        " OR (typeof(customer_id) = 'integer'"
        " AND (CAST(customer_id AS TEXT), COALESCE(lower(email), ''))"
        f" IN (SELECT n.customer_id, n.email_key {newer} AND n.run_has_text_ids))"
        " OR (typeof(customer_id) = 'blob'"
        f" AND customer_id IN (SELECT CAST(n.email_key AS BLOB) {newer})))"
    )


IN_NEWER_RUN = _is_in("loaded_users")
# In one other than :but.
IN_ANOTHER_NEWER_RUN = _is_in("loaded_users", " AND n.run != :but")
DELIVERED_BY_NEWER_RUN = _is_in("delivered_users")
