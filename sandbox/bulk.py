"""The answer to a bulk call: counts, and the addresses that failed, by reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.answers import Answer, json_answer

if TYPE_CHECKING:
    from collections.abc import Iterable

USER_REASONS = ("conflict", "forgotten", "invalidData", "invalid", "notFound")
EVENT_REASONS = ("forgotten", "invalid", "notFound")


@dataclass(slots=True)
class BulkReport:
    """The outcome of each record of one bulk call."""

    reasons: tuple[str, ...]
    success_count: int = 0
    fail_count: int = 0
    created_fields: list[str] = field(default_factory=list)
    dropped_fields: set[str] = field(default_factory=set)
    disallowed_names: set[str] = field(default_factory=set)
    failed: dict[str, list[str]] = field(default_factory=dict)

    def fail(self, list_name: str, email: str) -> None:
        """Count a record as failed, and name its address in a list of `failedUpdates`."""
        self.fail_count += 1
        self.failed.setdefault(list_name, []).append(email)

    def disallow(self, event_name: str) -> None:
        """Count an event as failed because of its name."""
        self.fail_count += 1
        self.disallowed_names.add(event_name)

    def answer(self) -> Answer:
        """Return Iterable's answer, with every list that it documents."""
        content = {
            "successCount": self.success_count,
            "failCount": self.fail_count,
            "createdFields": self.created_fields,
            "filteredOutFields": sorted(self.dropped_fields),
            "invalidEmails": self.failed.get("invalidEmails", []),
            "invalidUserIds": [],
            "failedUpdates": {
                name: self.failed.get(name, []) for name in _list_names(self.reasons)
            },
        }
        if self.reasons is EVENT_REASONS:
            content["disallowedEventNames"] = sorted(self.disallowed_names)
        return json_answer(content)


def _list_names(reasons: Iterable[str]) -> list[str]:
    return [reason + subject for reason in reasons for subject in ("Emails", "UserIds")]
