"""A thread that makes blocking calls on behalf of another one.

Python handles no signal while the main thread is in C code: a driver that waits for a silent
database would block Ctrl-C for as long. While it waits for this thread, it handles signals at once.
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class CallThread:
    """Makes calls one after the other, in the order of `run`.

    A daemon thread: a call that never returns does not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        # A signal handler may raise in `get`; unlike Queue, SimpleQueue stays intact.
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        thread = threading.Thread(target=_work_loop, args=(self._requests,), name=name, daemon=True)
        try:
            thread.start()
            self._has_thread = True
        except RuntimeError:  # the limit of threads is reached: make the calls in the caller's
            self._has_thread = False

    def run(self, call: Callable[[], T], timeout_seconds: float | None = None) -> T:
        """Make a call and return what it returns, or raise what it raises.

        Raises:
            TimeoutError: it took longer. It continues, but its result is discarded.
        """
        if not self._has_thread:
            return call()
        request = self._submit(call)
        try:
            succeeded, result = request.reply.get(timeout=timeout_seconds)
        except Empty:
            raise TimeoutError from None
        if succeeded:
            returned: T = result
            return returned
        try:
            raise result
        finally:
            del result  # break the reference cycle of the error, its traceback and this frame

    def finish(self, last_call: Callable[[], object]) -> None:
        """End the thread after a last call, without waiting for it."""
        if not self._has_thread:
            last_call()
            return
        self._submit(last_call)
        self._requests.put(None)

    def _submit(self, call: Callable[[], object]) -> _Request:
        request = _Request(call)
        self._requests.put(request)
        return request


class _Request:
    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.reply: SimpleQueue[tuple[bool, Any]] = SimpleQueue()


def _work_loop(requests: SimpleQueue[_Request | None]) -> None:
    # A function, not a method: the waiting thread must not keep the CallThread alive.
    while (request := requests.get()) is not None:
        try:
            request.reply.put((True, request.call()))
        except BaseException as error:  # noqa: BLE001  re-raised by `run`
            request.reply.put((False, error))
        del request
