"""The etl_ tables and views, as numbered migrations for all engines.

A step is a list of tables, views, indexes and columns with their SQL; it is never changed after a
release. MySQL commits each of these statements by itself, so a step that was interrupted continues
with what does not exist yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from integration.core.clock import utc_now
from integration.database.dialects import Column
from integration.database.errors import SETUP_HINT
from integration.database.write_errors import WriteFailed
from integration.database.writing import to_text
from integration.ingest.errors import SourceBusy
from integration.ingest.table_check import check_storage, check_unique_email

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from integration.database.reading import ReadSession
    from integration.database.writing import WriteSession

MIGRATION_LOCK_SECONDS = 60
CUSTOMER_COLUMNS = ("email", "first_name", "last_name", "plan_type", "candidate")
VIEW_COLUMNS = ("user_id", "page", "event_time", "device", "browser", "location")
_TARGETS = {"customers": ("id", *CUSTOMER_COLUMNS), "page_views": ("id", *VIEW_COLUMNS)}
_KINDS: Mapping[str, Column] = {
    "id": Column("id", "integer"),
    "user_id": Column("user_id", "integer"),
    "event_time": Column("event_time", "time"),
}

_SCHEMA = """
CREATE TABLE etl_schema (
    version INT NOT NULL PRIMARY KEY,
    created_at {time} NOT NULL
) {options}
"""
# kind: the source's kind, or "retry" for records that were rejected in an earlier run.
_RUNS = """
CREATE TABLE etl_runs (
    run_id {serial},
    source VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    status VARCHAR(16) NOT NULL,
    created_at {time} NOT NULL,
    started_at {time} NOT NULL,
    heartbeat_at {time} NOT NULL,
    finished_at {time},
    cursor_from TEXT,
    cursor_to TEXT,
    pages BIGINT NOT NULL DEFAULT 0,
    records BIGINT NOT NULL DEFAULT 0,
    inserted BIGINT NOT NULL DEFAULT 0,
    updated BIGINT NOT NULL DEFAULT 0,
    unchanged BIGINT NOT NULL DEFAULT 0,
    rejected BIGINT NOT NULL DEFAULT 0,
    retries BIGINT NOT NULL DEFAULT 0,
    seconds_waited DOUBLE NOT NULL DEFAULT 0,
    error_code VARCHAR(64),
    error_detail TEXT,
    warnings TEXT
) {options}
"""
_CHECKPOINT = """
CREATE TABLE etl_checkpoint (
    source VARCHAR(64) NOT NULL PRIMARY KEY,
    position {json} NOT NULL,
    version BIGINT NOT NULL,
    run_id BIGINT NOT NULL,
    updated_at {time} NOT NULL
) {options}
"""
# content: the page as received, compressed by zlib; sha256: of what was received.
_RAW_DATA = """
CREATE TABLE etl_raw_data (
    run_id BIGINT NOT NULL,
    page INT NOT NULL,
    records INT NOT NULL,
    content {blob} NOT NULL,
    sha256 CHAR(64) NOT NULL,
    fetched_at {time} NOT NULL,
    origin TEXT NOT NULL,
    PRIMARY KEY (run_id, page)
) {options}
"""
# position: of the record in its raw page, from 0.
_REJECTED = """
CREATE TABLE etl_rejected (
    run_id BIGINT NOT NULL,
    page INT NOT NULL,
    position INT NOT NULL,
    entity VARCHAR(16) NOT NULL,
    source_key VARCHAR(255),
    code VARCHAR(32) NOT NULL,
    field VARCHAR(64),
    resolved_run BIGINT,
    created_at {time} NOT NULL,
    PRIMARY KEY (run_id, page, position)
) {options}
"""
# run_id: the run whose raw page connected the record with its row; later updates do not move it.
_RECORDS = """
CREATE TABLE etl_records (
    source VARCHAR(64) NOT NULL,
    entity VARCHAR(16) NOT NULL,
    source_key VARCHAR(255) NOT NULL,
    target_id BIGINT NOT NULL,
    run_id BIGINT NOT NULL,
    PRIMARY KEY (entity, source_key, source)
) {options}
"""
_RAW_VIEW = """
CREATE {invoker} VIEW {name} AS
    SELECT r.source, d.run_id, d.page, d.records, d.content, d.sha256, d.fetched_at, d.origin
    FROM etl_raw_data d JOIN etl_runs r ON r.run_id = d.run_id
    WHERE r.kind {kinds}
"""
_NORMALIZED = """
CREATE {invoker} VIEW normalized_data AS
    SELECT e.source, e.entity, e.source_key, e.target_id, e.run_id, c.email, c.first_name,
        c.last_name, c.plan_type, c.candidate, NULL AS page, NULL AS device, NULL AS browser,
        NULL AS location, NULL AS event_time
    FROM etl_records e JOIN customers c ON c.id = e.target_id
    WHERE e.entity = 'customers'
    UNION ALL
    SELECT e.source, e.entity, e.source_key, e.target_id, e.run_id, c.email, c.first_name,
        c.last_name, c.plan_type, c.candidate, v.page, v.device, v.browser, v.location,
        v.event_time
    FROM etl_records e JOIN page_views v ON v.id = e.target_id
        JOIN customers c ON c.id = v.user_id
    WHERE e.entity = 'page_views'
"""
_INDEX = "CREATE INDEX {name} ON {columns}"
# missing: how many stored records the source no longer has; NULL if the run did not read them all.
# deleted: how many rows of those the run has deleted.
_MISSING = "ALTER TABLE etl_runs ADD COLUMN missing BIGINT"
_DELETED = "ALTER TABLE etl_runs ADD COLUMN deleted BIGINT NOT NULL DEFAULT 0"

# Each step: the name of a table, view or index, or TABLE.COLUMN, and its SQL.
MIGRATIONS: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("etl_runs", _RUNS),
        ("idx_etl_runs_source", _INDEX.replace("{columns}", "etl_runs (source, run_id)")),
        ("etl_checkpoint", _CHECKPOINT),
        ("etl_raw_data", _RAW_DATA),
        ("etl_rejected", _REJECTED),
        ("idx_etl_rejected_open", _INDEX.replace("{columns}", "etl_rejected (code, resolved_run)")),
        (
            "idx_etl_rejected_key",
            _INDEX.replace("{columns}", "etl_rejected (entity, source_key)"),
        ),
        ("etl_records", _RECORDS),
        (
            "idx_etl_records_target",
            _INDEX.replace("{columns}", "etl_records (entity, target_id, source)"),
        ),
        ("raw_api_data", _RAW_VIEW.replace("{kinds}", "= 'http'")),
        ("raw_csv_data", _RAW_VIEW.replace("{kinds}", "IN ('csv', 'jsonl')")),
        ("normalized_data", _NORMALIZED),
    ),
    (("etl_runs.missing", _MISSING), ("etl_runs.deleted", _DELETED)),
)
SCHEMA_VERSION = len(MIGRATIONS)


class TargetTables(NamedTuple):
    """What the SQL has to know of `customers` and `page_views`.

    Attributes:
        customers: its columns, `id` first.
        page_views: its columns, `id` first.
        ignores_case: whether two emails that differ only in case are the same to the database.
    """

    customers: Sequence[Column]
    page_views: Sequence[Column]
    ignores_case: bool

    @property
    def email(self) -> Column:
        """The column `customers.email`."""
        return self.customers[1]


def prepare_tables(session: WriteSession) -> TargetTables:
    """Check `customers` and `page_views`, and create the etl_ tables or bring them up to date.

    Raises:
        WriteFailed: a table or a right (WriteDenied) is missing, or a table cannot be used.
        SourceBusy: another run has been creating the tables for a minute.
    """
    tables = read_targets(session)
    check_storage(session, {"customers": tables.customers, "page_views": tables.page_views})
    check_unique_email(session)
    if _version(session) != SCHEMA_VERSION:
        with session.try_lock("schema", MIGRATION_LOCK_SECONDS) as held:
            if not held:
                raise SourceBusy("Another run is creating the etl_ tables: wait until it has ended")
            _migrate(session)
    return tables


def has_tables(session: ReadSession) -> bool:
    """Whether the etl_ tables exist; creates nothing.

    Raises:
        WriteFailed: they are those of another version of this program.
    """
    version = _version(session)
    if 0 < version < SCHEMA_VERSION:
        raise WriteFailed(
            f"The etl_ tables are those of an earlier version of this program ({version}, this one "
            f"needs {SCHEMA_VERSION}): python cli.py run brings them up to date"
        )
    return version == SCHEMA_VERSION


def read_targets(session: WriteSession) -> TargetTables:
    """The columns of `customers` and `page_views`.

    Raises:
        WriteFailed: a table or a column is missing.
    """
    customers, views = (_read_columns(session, table) for table in _TARGETS)
    collation = customers[1].collation
    lower, upper = "'a'", "'A'"
    if collation and session.engine != "sqlite":
        charset = collation.partition("_")[0]
        lower, upper = (f"CONVERT({letter} USING {charset})" for letter in (lower, upper))
    clause = f" COLLATE {collation}" if collation else ""
    ((same,),) = session.query(f"SELECT {lower} = {upper}{clause}")
    return TargetTables(customers, views, ignores_case=bool(same))


def _read_columns(session: WriteSession, table: str) -> list[Column]:
    found = dict(session.query(session.dialect.columns_of, (table,)))
    missing = [name for name in _TARGETS[table] if name not in found]
    if missing:
        what = f"the table {table}" if not found else f"{table}.{missing[0]}"
        hint = SETUP_HINT if session.engine != "sqlite" else "python -m sandbox.database FILE"
        raise WriteFailed(
            f"The database has no {what.removeprefix('the ')}: check DB_NAME, "
            f"or create the tables with {hint}"
        )
    return [_KINDS.get(name, Column(name, "text", found[name])) for name in _TARGETS[table]]


def _version(session: ReadSession) -> int:
    names = {str(name).lower() for (name,) in session.query(session.dialect.objects)}
    if "etl_schema" not in names:
        return 0
    version = session.query("SELECT MAX(version) FROM etl_schema")[0][0] or 0
    if version > SCHEMA_VERSION:
        raise WriteFailed(
            f"The etl_ tables are those of a newer version of this program ({version}, this one "
            f"knows {SCHEMA_VERSION}): update the program"
        )
    return int(version)


def _migrate(session: WriteSession) -> None:
    existing = _existing(session)
    if "etl_schema" not in existing:
        session.execute(_text(session, "etl_schema", _SCHEMA))
    for version in range(_version(session) + 1, SCHEMA_VERSION + 1):
        for name, sql in MIGRATIONS[version - 1]:
            if name not in existing:
                session.execute(_text(session, name, sql))
        session.execute(
            "INSERT INTO etl_schema (version, created_at) VALUES (%s, %s)",
            (version, to_text(utc_now())),
        )


def _existing(session: WriteSession) -> set[str]:
    """The names of all tables, views and indexes, and TABLE.COLUMN of what a step adds."""
    objects = {str(name).lower() for (name,) in session.query(session.dialect.objects)}
    added = {name.partition(".")[0] for step in MIGRATIONS for name, _ in step if "." in name}
    return objects | {
        f"{table}.{row[0]}".lower()
        for table in added
        for row in session.query(session.dialect.columns_of, (table,))
    }


def _text(session: WriteSession, name: str, sql: str) -> str:
    dialect = session.dialect
    return sql.format(
        name=name,
        time=dialect.time,
        json=dialect.json,
        serial=dialect.serial,
        blob=dialect.blob,
        options=dialect.table_options,
        invoker=dialect.invoker,
    )
