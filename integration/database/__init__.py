"""The implementation of `db_connection`: one module per engine, errors, the query file."""
