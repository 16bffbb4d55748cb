"""A thread that makes blocking calls for another one.

While C code runs in the main thread, Python hears no signal: a driver that waits for a silent
database would keep Ctrl-C out for as long. A thread that waits for this one hears them at once.
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class CallThread:
    """Makes one call after the other, in the order in which they were asked for.

    It is a daemon: a call that does not come back does not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        # A signal's handler may raise in `get`, which leaves this kind of queue intact.
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        thread = threading.Thread(target=_work_on, args=(self._orders,), name=name, daemon=True)
        try:
            thread.start()
            self._has_thread = True
        except RuntimeError:  # the limit of threads is reached: calls are made in the caller's
            self._has_thread = False

    def run(self, call: Callable[[], T], timeout_seconds: float | None = None) -> T:
        """Make a call and return what it returns, or raise what it raises.

        Raises:
            TimeoutError: it took longer. It goes on, but nobody will know how it ended.
        """
        if not self._has_thread:
            return call()
        order = self._order(call)
        try:
            succeeded, result = order.reply.get(timeout=timeout_seconds)
        except Empty:
            raise TimeoutError from None
        if succeeded:
            returned: T = result
            return returned
        try:
            raise result
        finally:
            del result  # else the error's traceback would hold this frame, which holds the error

    def finish(self, last_call: Callable[[], object]) -> None:
        """Make a last call after those that were asked for, without waiting, and end."""
        if not self._has_thread:
            last_call()
            return
        self._order(last_call)
        self._orders.put(None)

    def _order(self, call: Callable[[], object]) -> _Order:
        order = _Order(call)
        self._orders.put(order)
        return order


class _Order:
    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.reply: SimpleQueue[tuple[bool, Any]] = SimpleQueue()


def _work_on(orders: SimpleQueue[_Order | None]) -> None:
    # No `self` here: a thread that waits keeps nothing alive that nobody else wants.
    while (order := orders.get()) is not None:
        try:
            order.reply.put((True, order.call()))
        except BaseException as error:  # noqa: BLE001  raised again by `run`
            order.reply.put((False, error))
        del order
