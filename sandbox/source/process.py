"""The mock source as a separate process, for tests, benchmarks and the demo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.options import arguments_of
from sandbox.process import ServerProcess
from sandbox.source.options import SourceOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

_READY_PREFIX = "Mock source listening on "


class SourceProcess(ServerProcess):
    """A running `python -m sandbox.source`."""

    def __init__(self, options: SourceOptions | None = None, *, port: int = 0) -> None:
        self.options = options or SourceOptions()
        super().__init__("sandbox.source", _READY_PREFIX, arguments_of(self.options), port)

    def requests(self, limit: int = 10_000) -> list[dict[str, Any]]:
        """Return the last requests, oldest first."""
        requests: list[dict[str, Any]] = self._call(f"requests?limit={limit}")
        return requests

    def faults(self, *script: Mapping[str, Any]) -> None:
        """Append faults to the script."""
        self._call("faults", list(script))

    def clear_faults(self) -> None:
        """Forget the faults still to come."""
        self._call("clear", {})

    def touch(self, entity: str, count: int, at: str | None = None) -> list[int]:
        """Change the records that come first; return their ids."""
        touched: list[int] = self._call("touch", {"entity": entity, "count": count, "at": at})[
            "touched"
        ]
        return touched

    def configure(self, **options: object) -> None:
        """Change options of the running server; the data is generated again."""
        self._call("configure", options)

    def reset(self) -> None:
        """Forget changes, counts and faults."""
        self._call("reset", {})
