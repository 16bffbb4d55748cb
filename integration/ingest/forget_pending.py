"""What is known of a person while they are being erased.

The first places that are erased may be the only ones that connect an address with another one. So
what is known is kept in a file until everything is done, and an erasure that was interrupted is
finished by the same command. The file's name has a digest of the address, not the address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from integration.core.files import FileError, atomic_write, is_there
from integration.core.overwriting import delete_overwritten
from integration.core.personal_data import Person
from integration.journal.schema import email_key

if TYPE_CHECKING:
    from pathlib import Path


class Pending:
    """The file of one address, beside the journal.

    Args:
        journal: the journal's file.
        email: the address that the command was given.
    """

    def __init__(self, journal: Path, email: str) -> None:
        digest = (email_key(email) or b"").hex()
        self._path = journal.with_name(f"{journal.name}.forget-{digest}")

    def load(self) -> Person | None:
        """What an interrupted erasure knew, or None if there is none.

        Raises:
            FileError: it cannot be read.
        """
        if not is_there(self._path):
            return None
        try:
            values = orjson.loads(self._path.read_bytes())
            return Person(
                frozenset(values["emails"]),
                frozenset((first, last) for first, last in values["names"]),
                frozenset(values["ids"]),
                frozenset((source, key) for source, key in values["keys"]),
            )
        except (OSError, ValueError, KeyError) as error:
            raise FileError(f"Cannot read {self._path}: {error}; delete it") from error

    def save(self, person: Person) -> None:
        """Keep what is known.

        Raises:
            FileError: it cannot be written.
        """
        values = {
            "emails": list(person.emails),
            "names": list(person.names),
            "ids": list(person.ids),
            "keys": list(person.keys),
        }
        with atomic_write(self._path) as file:
            file.write(orjson.dumps(values).decode())

    def discard(self) -> None:
        """Overwrite and delete the file, if there is one.

        Raises:
            FileError: it cannot be deleted.
        """
        delete_overwritten(self._path)
