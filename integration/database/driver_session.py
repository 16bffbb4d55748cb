"""What the sessions of PostgreSQL, DuckDB and Spark have in common.

Each engine adds the calls to its driver, which a separate thread makes, and the translation of the
driver's errors.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from integration.core.exact_json import with_json
from integration.core.exit_codes import ExitCode
from integration.database.call_thread import CallThread
from integration.database.errors import DatabaseError, DatabaseUnavailable
from integration.database.row_values import with_converted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from integration.database.query_file import Dialect
    from integration.database.row_values import Convert

CLOSE_SECONDS = 1
EXPLAIN = "EXPLAIN "
T = TypeVar("T")


class DriverMissing(DatabaseError):  # noqa: N818  # named by what to do next
    """The engine's driver is an extra that is not installed."""

    exit_code = ExitCode.CONFIGURATION


def require_driver(module: str, engine: str, extra: str) -> None:
    """Import the driver's module.

    Raises:
        DriverMissing: it is not installed.
    """
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise DriverMissing(
            f"{engine} needs its driver: pip install -r requirements-{extra}.txt"
        ) from error


class DriverSession:
    """One connection; a `Session` without the driver.

    Args:
        name: what is connected to, for the thread's name and the messages.
    """

    # Translates the driver's errors into a DatabaseError, and leaves other ones alone.
    errors: type[Exception] | tuple[type[Exception], ...] = ()

    def __init__(self, name: str) -> None:
        self._name = name
        self._driver = CallThread(f"database {name}")
        self._is_calling = False
        self._json: Sequence[int] = ()
        self._converters: Mapping[int, Convert] = {}

    def _open(self) -> None:
        """Connect; called in the driver's thread, as the next ones."""
        raise NotImplementedError

    def _start(self, query: str, limit: int | None) -> Sequence[str]:
        """Start a query of the engine's dialect, and return the names of its columns."""
        raise NotImplementedError

    def _fetch(self) -> Sequence[tuple[Any, ...]]:
        """The next rows, or none."""
        raise NotImplementedError

    def _end(self) -> None:
        """End the connection, if there is one."""
        raise NotImplementedError

    def _interrupt(self) -> None:
        """End the call that another thread makes."""
        raise NotImplementedError

    def _translate(self, query: str) -> str:
        """A MySQL query in the engine's dialect."""
        raise NotImplementedError

    def _connect_error(self, error: Exception) -> DatabaseError:
        raise NotImplementedError

    def _query_error(self, error: Exception) -> DatabaseError:
        raise NotImplementedError

    def _connect(self, timeout_seconds: float) -> None:
        """Connect, or end the thread."""
        try:
            self._call(self._open, self._connect_error, timeout_seconds)
        except BaseException as error:
            self._driver.finish(self._end)
            if isinstance(error, TimeoutError):
                raise DatabaseUnavailable(
                    f"No answer from the database at {self._name} within {timeout_seconds:g} s: "
                    "check that the server runs, host, port and the firewall"
                ) from error
            raise

    def _call(
        self,
        call: Callable[[], T],
        translate: Callable[[Exception], DatabaseError],
        timeout_seconds: float | None = None,
    ) -> T:
        with self._translated(translate):
            self._is_calling = True  # stays so when a signal ends the wait
            result = self._driver.run(call, timeout_seconds)
            self._is_calling = False
        return result

    @contextmanager
    def _translated(self, translate: Callable[[Exception], DatabaseError]) -> Iterator[None]:
        try:
            yield
        except self.errors as error:
            self._is_calling = False
            raise translate(error) from error

    def execute(
        self, query: str, limit: int | None = None, dialect: Dialect = "mysql"
    ) -> Sequence[str]:
        """Start a query, or EXPLAIN and a query, and return the names of its columns."""
        statement = query.removeprefix(EXPLAIN)
        own = self._translate(statement) if dialect == "mysql" else statement
        start = self._start if statement == query else self._start_plan
        return self._call(partial(start, own, limit), self._query_error)

    def _start_plan(self, query: str, limit: int | None) -> Sequence[str]:
        """Start EXPLAIN and a query, and return the names of its columns."""
        return self._start(EXPLAIN + query, limit)

    def batches(self) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Yield the rows as they arrive."""
        while batch := self._call(self._fetch, self._query_error):
            rows = with_converted(batch, self._converters)
            yield with_json(rows, self._json) if self._json else rows

    def close(self) -> None:
        """End the connection, without waiting for a running query."""
        with suppress(TimeoutError):
            if self._is_calling:
                closer = CallThread(f"closing {self._name}")
                closer.finish(self._interrupt)
            self._driver.run(self._end, CLOSE_SECONDS)
        self._driver.finish(lambda: None)
