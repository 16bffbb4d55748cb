"""Deleting raw pages that are no longer needed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from integration.core.clock import utc_now
from integration.database.writing import to_text

if TYPE_CHECKING:
    from integration.database.writing import WriteSession


def delete_old_pages(session: WriteSession, retention_days: int) -> int:
    """Delete raw pages older than that, unless one of their records is still rejected.

    Returns:
        How many were deleted.
    """
    return session.execute(
        "DELETE FROM etl_raw_data WHERE fetched_at < %s AND NOT EXISTS (SELECT 1"
        " FROM etl_rejected WHERE etl_rejected.run_id = etl_raw_data.run_id"
        " AND etl_rejected.page = etl_raw_data.page AND etl_rejected.resolved_run IS NULL)",
        (to_text(utc_now() - timedelta(days=retention_days)),),
    )
