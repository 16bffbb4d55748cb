"""The etl_ tables and views on each engine."""

from __future__ import annotations

import dataclasses
import secrets
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.core.exit_codes import ExitCode
from integration.database.write_errors import WriteDenied, WriteFailed
from integration.database.writing import open_writer
from integration.ingest import tables
from integration.ingest.tables import has_tables, prepare_tables
from sandbox.database import create_database
from tests.conftest import load_seed
from tests.support.ingest import Ingest, Source, codes, counts, customer

if TYPE_CHECKING:
    from db_connection import DatabaseSettings
    from integration.database.writing import WriteSession
    from tests.support.mysql_server import MySQLServer

ETL_TABLES = {"etl_runs", "etl_checkpoint", "etl_raw_data", "etl_rejected", "etl_records"}
ETL_VIEWS = {"raw_api_data", "raw_csv_data", "normalized_data"}


def objects(session: WriteSession) -> set[str]:
    """The tables, views and indexes."""
    return {name for (name,) in session.query(session.dialect.objects)}


def test_they_are_created_on_first_use_and_left_alone_then(session: WriteSession) -> None:
    """The second call changes nothing."""
    assert not has_tables(session)
    prepare_tables(session)
    assert objects(session) >= ETL_TABLES | ETL_VIEWS
    assert has_tables(session)
    versions = session.query("SELECT * FROM etl_schema")
    prepare_tables(session)
    assert session.query("SELECT * FROM etl_schema") == versions


def test_the_documented_statements_run_verbatim(session: WriteSession) -> None:
    """Records by source, the last runs, the checkpoints."""
    crm = Ingest(session, Source("crm", owns_ids=True))
    crm.write(customer("1", "a@x.com"), customer("2", "b@x.com"))
    web = Ingest(session, Source("web", "page_views"), "csv")
    view = {"email": "a@x.com", "page": "home", "event_time": "2026-03-01 12:00:00"}
    web.write((None, dict(view)), content=b"a,b\n1,2")

    counted = session.query("SELECT source, COUNT(*) FROM normalized_data GROUP BY source;")
    assert dict(counted) == {"crm": 2, "web": 1}
    runs = session.query("SELECT * FROM etl_runs ORDER BY created_at DESC LIMIT 5;")
    assert [run[1] for run in runs] == ["web", "crm"]
    checkpoints = session.query("SELECT * FROM etl_checkpoint;")
    assert {row[0] for row in checkpoints} == {"crm", "web"}
    assert session.query("SELECT source, records FROM raw_api_data") == [("crm", 2)]
    assert session.query("SELECT source, records FROM raw_csv_data") == [("web", 1)]
    assert session.query(
        "SELECT entity, email, page FROM normalized_data WHERE source = 'web'"
    ) == [("page_views", "a@x.com", "home")]


def test_an_interrupted_migration_goes_on(
    session: WriteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL commits each CREATE by itself."""
    execute = session.execute

    def failing(sql: str, parameters: object = ()) -> int:
        if "etl_rejected (" in sql:
            raise WriteFailed("killed")
        return execute(sql, parameters)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(session, "execute", failing)
        with pytest.raises(WriteFailed, match="killed"):
            prepare_tables(session)
    assert not has_tables(session)

    prepare_tables(session)

    assert objects(session) >= ETL_TABLES | ETL_VIEWS


def test_tables_of_a_newer_version_are_refused(
    session: WriteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old program must not write to them."""
    prepare_tables(session)
    monkeypatch.setattr(tables, "SCHEMA_VERSION", 0)
    with pytest.raises(WriteFailed, match=r"newer version of this program \(2, this one knows 0\)"):
        prepare_tables(session)


def test_missing_tables_are_one_line(session: WriteSession) -> None:
    """It names the table or column, and how to create them."""
    session.execute("ALTER TABLE page_views DROP COLUMN browser")
    with pytest.raises(WriteFailed, match=r"has no page_views\.browser: check DB_NAME"):
        prepare_tables(session)
    session.execute("DROP TABLE page_views")
    with pytest.raises(
        WriteFailed, match="has no table page_views: check DB_NAME, or create"
    ) as it:
        prepare_tables(session)
    assert it.value.exit_code == ExitCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["CONVERT TO CHARACTER SET latin1"],
            r"page_views\.page is latin1, .*CONVERT TO CHARACTER",
        ),
        (
            ["DROP FOREIGN KEY fk_page_views_user", "ENGINE = MyISAM"],
            "page_views is MyISAM, which has no transactions: ALTER TABLE page_views ENGINE",
        ),
    ],
    ids=["characters", "transactions"],
)
def test_tables_that_would_lose_something_are_refused(
    seeded_database: DatabaseSettings, changes: list[str], message: str
) -> None:
    """Characters that become question marks, or pages that are stored in part."""
    with closing(open_writer(seeded_database)) as session:
        for change in changes:
            session.execute(f"ALTER TABLE page_views {change}")
        with pytest.raises(WriteFailed, match=message):
            prepare_tables(session)
        assert not has_tables(session)


def test_emails_without_a_unique_index_are_refused(session: WriteSession) -> None:
    """Two customers could get one email; an index of several columns does not prevent it."""
    if session.engine == "sqlite":
        session.execute("ALTER TABLE customers RENAME TO old")
        session.execute("CREATE TABLE customers AS SELECT * FROM old")
    else:
        session.execute("ALTER TABLE customers DROP INDEX uq_customers_email")
    session.execute("CREATE UNIQUE INDEX both_of_them ON customers (email, id)")

    with pytest.raises(WriteFailed, match=r"^customers\.email has no unique index") as raised:
        prepare_tables(session)

    session.execute(str(raised.value).partition("same email: ")[2])
    prepare_tables(session)


def test_a_column_that_nothing_fills_is_named(seeded_database: DatabaseSettings) -> None:
    """It concerns every record, so none of them is rejected for it."""
    with closing(open_writer(seeded_database)) as session:
        session.execute("ALTER TABLE customers ADD COLUMN tenant INT NOT NULL")
        with pytest.raises(WriteFailed, match=r"does not fill \(.*tenant.*\): give it a default"):
            Ingest(session).write(customer("1", "new@x.com"))


def test_a_row_that_a_trigger_refuses_is_rejected(seeded_database: DatabaseSettings) -> None:
    """The rest of its page is stored; the message of the trigger may have data of the row."""
    with closing(open_writer(seeded_database)) as session:
        session.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON customers FOR EACH ROW BEGIN"
            " IF NEW.email = 'bad@x.com' THEN SIGNAL SQLSTATE '45000'; END IF; END"
        )
        outcome = Ingest(session).write(customer("1", "new@x.com"), customer("2", "bad@x.com"))
        assert counts(outcome) == (1, 0, 0, 1)
        assert codes(outcome) == [(1, "not_allowed")]


def test_a_missing_right_is_one_line_that_names_the_grant(
    mysql_server: MySQLServer, seeded_database: DatabaseSettings
) -> None:
    """Copied from the message, the GRANT is sufficient."""
    user, name = f"reader_{secrets.token_hex(4)}", seeded_database.name
    mysql_server.run(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'a-secret'",
        f"GRANT SELECT ON {name}.* TO '{user}'@'%'",
    )
    account = dataclasses.replace(seeded_database, user=user, password="a-secret")
    session = open_writer(account)
    try:
        with pytest.raises(WriteDenied, match="INGEST_DB_USER") as caught:
            prepare_tables(session)
        message = str(caught.value)
        assert "\n" not in message
        assert "a-secret" not in message + repr(session)
        grant = message[message.index("GRANT") : message.index(" TO that user")]
        mysql_server.run(f"{grant} TO '{user}'@'%'")
        session.reconnect()
        Ingest(session).write(customer("1", "new@x.com"))
        assert session.query("SELECT COUNT(*) FROM normalized_data") == [(1,)]
    finally:
        session.close()
        mysql_server.run(f"DROP USER '{user}'@'%'")


def test_the_setup_file_drops_them(
    request: pytest.FixtureRequest, session: WriteSession, target_settings: DatabaseSettings
) -> None:
    """Else a checkpoint would say "nothing new" over the rows of the demo."""
    Ingest(session).write(customer("1", "a@x.com"))
    if target_settings.engine == "sqlite":
        create_database(Path(target_settings.name))
    else:
        load_seed(request.getfixturevalue("mysql_server"), target_settings.name)

    assert not (ETL_TABLES | ETL_VIEWS | {"etl_schema"}) & objects(session)
    assert session.query("SELECT COUNT(*) FROM customers") == [(15,)]
    prepare_tables(session)
    assert session.query("SELECT COUNT(*) FROM normalized_data") == [(0,)]
