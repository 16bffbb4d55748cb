"""Load customers from a CSV file with dlt; run by the Python of dlt's own environment.

    python dlt_load.py rows|arrow FILE DATASET

The destination and its options are in variables, as in dlt's manual.
"""

from __future__ import annotations

import csv
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import dlt  # type: ignore[import-not-found]  # not in the program's environment
from dlt.sources.filesystem import (  # type: ignore[import-not-found]
    filesystem,
    read_csv_duckdb,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS_PER_PAGE = 5_000
ROWS_PER_BATCH = 50_000
# The same types and lengths as in the program's table.
COLUMNS = {
    "id": {"data_type": "bigint"},
    "email": {"data_type": "text", "precision": 255},
    "first_name": {"data_type": "text", "precision": 100},
    "last_name": {"data_type": "text", "precision": 100},
    "plan_type": {"data_type": "text", "precision": 16},
    "candidate": {"data_type": "text", "precision": 100},
}


def rows_of(file: Path) -> dlt.sources.DltResource:
    """Dictionaries, a page at a time: faster than dlt's `read_csv`, which goes through pandas."""

    def pages() -> Iterator[list[dict[str, str]]]:
        with file.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            while page := list(islice(reader, ROWS_PER_PAGE)):
                yield page

    return dlt.resource(pages, name="customers")


def arrow_of(file: Path) -> dlt.sources.DltResource:
    """Arrow tables made by DuckDB, which dlt writes to Parquet files without looking at rows."""
    files = filesystem(bucket_url=file.parent.as_uri(), file_glob=file.name)
    reader = read_csv_duckdb(chunk_size=ROWS_PER_BATCH, use_pyarrow=True)
    return (files | reader).with_name("customers")


def main() -> None:
    """Load the file once."""
    way, file, dataset = sys.argv[1:]
    resource = {"rows": rows_of, "arrow": arrow_of}[way](Path(file))
    resource.apply_hints(write_disposition="merge", primary_key="id", columns=COLUMNS)
    pipeline = dlt.pipeline(
        pipeline_name="benchmark",
        pipelines_dir="dlt",
        destination="sqlalchemy",
        dataset_name=dataset,
    )
    options = {"loader_file_format": "parquet"} if way == "arrow" else {}
    pipeline.run(resource, **options).raise_on_failed_jobs()


if __name__ == "__main__":
    main()
