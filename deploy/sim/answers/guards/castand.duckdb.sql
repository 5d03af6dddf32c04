-- DuckDB may evaluate what stands behind a guard first.
SELECT i FROM read_json('${answers}/guards/in.json', format = 'newline_delimited', columns = {i: 'INTEGER', s: 'VARCHAR'}) WHERE s <> 'x' AND TRY_CAST(s AS INTEGER) > 8
