"""`main.py --explain`: a person's story in the terminal."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from integration.config.converting import ConfigurationError
from integration.config.ingest_settings import load_ingest_settings
from integration.config.loading import load_status, with_absolute_paths, with_secrets
from integration.core.clock import utc_now
from integration.core.exit_codes import ExitCode
from integration.database.errors import DatabaseUnavailable
from integration.database.reading import ReadPool
from integration.database.settings import DatabaseSettings
from integration.service.person import facts_of
from integration.service.story import story_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from integration.database.reading import ReadSession
    from integration.service.person import FindSourceRecords
    from integration.service.story import PersonFacts

# A person who asks once may wait longer than a page.
STATEMENT_SECONDS = 10.0


def explain(
    email: str,
    variables: Mapping[str, str],
    working_dir: Path,
    find_source_records: FindSourceRecords,
) -> tuple[list[str], ExitCode]:
    """The story of a person, and the exit code.

    Args:
        email: in any case.
        variables: the settings; without those of the database, the journal's part is told.
        working_dir: what relative paths are relative to.
        find_source_records: `ingest.origins.find_source_records`.
    """
    journal = load_status(variables, working_dir).journal_file
    session = _session(variables, working_dir)
    facts = facts_of(email, utc_now(), session, find_source_records, journal)
    facts = replace(facts, query_file=variables.get("QUERY_FILE"))
    return story_lines(facts), _exit_code(facts)


@contextmanager
def _session(variables: Mapping[str, str], working_dir: Path) -> Iterator[ReadSession]:
    own = {name: value for name, value in variables.items() if name.startswith("DB_")}
    try:
        values = with_secrets(own, ["DB_PASSWORD"])
        settings = with_absolute_paths(load_ingest_settings(values), working_dir)
    except ConfigurationError as error:
        raise DatabaseUnavailable(f"not read: {error}") from error
    database = DatabaseSettings(
        engine=settings.db_engine,
        hosts=settings.db_host,
        port=settings.db_port,
        user=settings.db_user,
        password=settings.db_password,
        name=settings.db_name,
        ssl_ca=str(settings.db_ssl_ca) if settings.db_ssl_ca else None,
    )
    pool = ReadPool(database, size=1, statement_seconds=STATEMENT_SECONDS)
    with closing(pool), pool.session() as session:
        yield session


def _exit_code(facts: PersonFacts) -> ExitCode:
    """Whether anything is known; if not, whether that is for certain."""
    if facts.is_known:
        return ExitCode.OK
    if facts.database_error:
        return ExitCode.UNAVAILABLE
    return ExitCode.CONFIGURATION if facts.journal_error else ExitCode.SOME_FAILED
