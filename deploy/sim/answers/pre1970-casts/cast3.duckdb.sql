-- DuckDB's casts round to the nearest; Flink's towards the past.
SELECT i, CAST(date_trunc('milliseconds', ts) AS TIMESTAMP_MS) AS c FROM read_json('${answers}/pre1970-casts/in.json', format = 'newline_delimited', columns = {i: 'INTEGER', ts: 'TIMESTAMP'})
