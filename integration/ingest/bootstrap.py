"""The parts of the ingest put together: database, tables, readers."""

from __future__ import annotations

from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from integration.core.shutdown import wait_in_main_thread
from integration.database.settings import writer_settings
from integration.database.writing import open_writer
from integration.ingest.kinds.readers import open_reader
from integration.ingest.run import Workplace
from integration.ingest.run_all import Ingest
from integration.ingest.tables import prepare_tables
from integration.iterable.pause import Pause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.config.ingest_settings import IngestSettings
    from integration.core.shutdown import Stop
    from integration.ingest.models import Reader
    from integration.ingest.source_file import Sources
    from integration.ingest.sources import Source


class Configuration(NamedTuple):
    """The settings and the sources."""

    settings: IngestSettings
    sources: Sources


@contextmanager
def open_ingest(configuration: Configuration, stop: Stop) -> Iterator[Ingest]:
    """Connect to the database, and create the tables that the ingest needs."""
    settings, sources = configuration
    wait = partial(wait_in_main_thread, stop)
    with closing(open_writer(writer_settings(settings), sleep=wait)) as session:
        tables = prepare_tables(session)
        reader = partial(reader_of, configuration, stop)
        yield Ingest(Workplace(session, tables, stop), reader, sources.sources)


def reader_of(configuration: Configuration, stop: Stop, source: Source) -> Reader:
    """The reader of a source, with the settings' timeout and attempts."""
    settings, sources = configuration
    return open_reader(
        source,
        sources.secrets,
        timeout_seconds=settings.request_timeout,
        max_attempts=settings.max_attempts,
        pause=Pause(stop.wait, stop.requested, stop.request),
    )
