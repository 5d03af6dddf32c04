"""Answers questions with DuckDB.

Standard input: one JSON object with `tables` (statements, run first), `questions` (name to query) and `out` (a directory).
Writes the rows of each to `out/NAME.parquet`; one that fails, to `out/NAME.error` as text.
"""

import json
import pathlib
import sys

import duckdb

asked = json.load(sys.stdin)
out = pathlib.Path(asked["out"])
database = duckdb.connect()
database.execute("SET TimeZone = 'UTC'")
database.execute(asked["tables"])
for name, query in asked["questions"].items():
    try:
        database.execute(f"CREATE OR REPLACE TEMP TABLE answer AS {query}")
        # Parquet has no integers of 128 bits, which DuckDB's sums are.
        wide = [row[0] for row in database.execute("DESCRIBE answer").fetchall() if row[1] == "HUGEINT"]
        narrow = ", ".join(f'CAST("{column}" AS BIGINT) AS "{column}"' for column in wide)
        columns = f"* REPLACE ({narrow})" if wide else "*"
        database.execute(f"COPY (SELECT {columns} FROM answer) TO '{out / name}.parquet' (FORMAT parquet)")
    except duckdb.Error as error:
        (out / f"{name}.error").write_text(str(error))
