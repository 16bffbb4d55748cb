"""kill -9 at any moment: a page is there with its checkpoint, or not at all."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from integration.database.writing import open_writer
from integration.ingest.checkpoints import read_checkpoint
from integration.ingest.locks import is_running, source_lock
from integration.ingest.runs import last_runs
from tests.conftest import ROOT
from tests.support.ingest import Ingest, Source, customer, emails, links

if TYPE_CHECKING:
    from db_connection import DatabaseSettings
    from integration.database.writing import WriteSession

ROWS = 200
SOURCE = Source("crm", owns_ids=True)
KILLS = 4
# Writes pages until it is killed, from where the checkpoint says; each page is announced.
PROGRAM = """
import sys
from integration.database.settings import DatabaseSettings
from integration.database.writing import open_writer
from integration.ingest.checkpoints import read_checkpoint
from integration.ingest.locks import source_lock
from tests.integration.ingest.test_kill import write_pages

engine, host, port, user, password, name = sys.argv[1:]
session = open_writer(
    DatabaseSettings(engine, (host,) if host else (), int(port), user, password, name)
)
with source_lock(session, "crm"):
    write_pages(session)
"""


def page(number: int) -> list[tuple[str | None, dict[str, object]]]:
    """The records of a page: new customers, and all of the page before with a new name."""
    return [
        customer(str(one), f"c{one}@x.com", first_name=f"page {number}")
        for one in range(max(1, (number - 2) * ROWS + 1), number * ROWS + 1)
    ]


def write_pages(session: WriteSession) -> None:
    """Write one page after the other, for ever."""
    run = Ingest(session, SOURCE)
    number = (read_checkpoint(session, "crm").position or {}).get("number", 0)
    while True:
        number += 1
        run.write(*page(number), position={"number": number})
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


def run_and_kill(settings: DatabaseSettings, seconds: float) -> None:
    """Start the program, and kill it some time after its first page."""
    host = settings.hosts[0] if settings.hosts else ""
    values = [settings.engine, host, str(settings.port), settings.user, settings.password]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *values, settings.name], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.stdout.read()
    assert process.returncode == -signal.SIGKILL


def wait_until_free(session: WriteSession) -> None:
    """The server notices within moments that its client is gone."""
    give_up = time.monotonic() + 30
    while is_running(session, "crm") and time.monotonic() < give_up:
        time.sleep(0.05)


def test_nothing_is_half_done_after_a_kill(
    session: WriteSession, target_settings: DatabaseSettings
) -> None:
    """Rows, raw pages, counts and checkpoint agree, and the next run continues."""
    delays = random.Random(5)
    for _ in range(KILLS):
        run_and_kill(target_settings, delays.uniform(0, 0.2))
        wait_until_free(session)
        check(session)
        assert last_runs(session, "crm", 1)[0].status == "crashed"
    other = open_writer(target_settings)
    with source_lock(other, "crm"):
        pass
    other.close()


def check(session: WriteSession) -> None:
    """All tables are as after exactly the pages that the checkpoint says."""
    pages = (read_checkpoint(session, "crm").position or {})["number"]
    found = emails(session)
    assert found == {number: f"c{number}@x.com" for number in range(1, pages * ROWS + 1)}
    assert set(links(session).values()) == set(found)
    names = session.query("SELECT first_name, COUNT(*) FROM customers GROUP BY first_name")
    assert dict(names) == {
        f"page {number}": ROWS * (2 if number == pages and pages > 1 else 1)
        for number in range(2 if pages > 1 else 1, pages + 1)
    }
    ((stored,),) = session.query("SELECT COUNT(*) FROM etl_raw_data")
    ((counted, inserted, records),) = session.query(
        "SELECT SUM(pages), SUM(inserted), SUM(records) FROM etl_runs"
    )
    assert stored == counted == pages
    assert inserted == len(found)
    assert records == sum(len(page(number)) for number in range(1, pages + 1))
