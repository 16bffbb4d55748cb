"""What happens to files of this machine while a run reads them."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from random import Random

    from tests.support.ingest_faults.sides import FileSide

SECONDS_BETWEEN_APPENDS = 0.01
BAD_RECORDS = 5
HTML = b"<html><body><h1>Maintenance</h1></body></html>\n"
_BAD_LINES = {
    "csv": (b"1,2\n", b'"un"closed,2\n', b"7,a@example.com,,,,platinum,\xff\n"),
    "jsonl": (b'{"cut":\n', b"[1,2]\n", b'{"id": "seven"}\n'),
}


@contextmanager
def _spoiled(
    change: Callable[[FileSide, Random, bytes], bytes], side: FileSide, random: Random
) -> Iterator[None]:
    side.spoil(partial(change, side, random))
    yield


def _cut_off(_: FileSide, random: Random, content: bytes) -> bytes:
    return content[: -random.randint(2, 200)]


def _latin1(_: FileSide, random: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    for number in random.sample(range(1, len(lines)), BAD_RECORDS):
        lines[number] = lines[number].replace(b"x", b"\xeb", 1)
    return b"".join(lines)


def _bad_rows(side: FileSide, random: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    for number in random.sample(range(1, len(lines)), BAD_RECORDS):
        lines[number] = random.choice(_BAD_LINES[side.shape])
    return b"".join(lines)


def _renamed(side: FileSide, _: Random, content: bytes) -> bytes:
    if side.shape == "csv":
        return content.replace(b"email", b"e_mail", 1)
    return content.replace(b'"contact"', b'"contacts"').replace(b'"customer"', b'"customers"')


def _html(_side: FileSide, _random: Random, _content: bytes) -> bytes:
    return HTML


@contextmanager
def _gone(side: FileSide, _: Random) -> Iterator[None]:
    for file in (0, 1):
        side.path(file).unlink()
    yield


@contextmanager
def _packed(change: Callable[[bytes], bytes], side: FileSide, _: Random) -> Iterator[None]:
    side.spoil(lambda content: content, change)
    yield


def _first_half(packed: bytes) -> bytes:
    return packed[: len(packed) // 2]


def _damaged(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return (
        packed[:middle]
        + bytes(byte ^ 0xFF for byte in packed[middle : middle + 64])
        + packed[middle + 64 :]
    )


@contextmanager
def _meanwhile(what: Callable[[Event], None]) -> Iterator[None]:
    """Do something in a thread until the block ends."""
    over = Event()
    thread = Thread(target=what, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _growing(side: FileSide, _: Random) -> AbstractContextManager[None]:
    def grow(over: Event) -> None:
        while not over.wait(SECONDS_BETWEEN_APPENDS):
            side.append(1)

    return _meanwhile(grow)


def _rewritten(side: FileSide, random: Random) -> AbstractContextManager[None]:
    def rewrite(over: Event) -> None:
        if not over.wait(random.uniform(0.3, 0.6)):
            side.rewrite()

    return _meanwhile(rewrite)


LOCAL_FAULTS: dict[str, Callable[[FileSide, Random], AbstractContextManager[None]]] = {
    "cut_off": partial(_spoiled, _cut_off),
    "growing": _growing,
    "latin1": partial(_spoiled, _latin1),
    "bad_rows": partial(_spoiled, _bad_rows),
    "renamed": partial(_spoiled, _renamed),
    "gone": _gone,
    "page_of_html": partial(_spoiled, _html),
    "rewritten": _rewritten,
    "gz_cut_off": partial(_packed, _first_half),
    "gz_damaged": partial(_packed, _damaged),
}
