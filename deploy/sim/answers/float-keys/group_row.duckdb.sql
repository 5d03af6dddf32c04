-- DuckDB tells -0.0 from 0.0 as a key; Flink does not, and a sum with 0.0 is never -0.0.
SELECT COUNT(*) AS n, CAST(SUM(v) AS BIGINT) AS s FROM read_json('${answers}/float-keys/in.json', format = 'newline_delimited', columns = {ts: 'TIMESTAMP', d: 'DOUBLE', f: 'FLOAT', r: 'STRUCT(d DOUBLE)', v: 'INTEGER'}) GROUP BY r.d + 0.0::DOUBLE, r IS NULL
