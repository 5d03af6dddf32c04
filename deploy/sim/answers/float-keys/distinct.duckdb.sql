-- DuckDB tells -0.0 from 0.0 as a key; Flink does not, and a sum with 0.0 is never -0.0.
SELECT COUNT(DISTINCT d + 0.0::DOUBLE) AS n, COUNT(DISTINCT f + 0.0::FLOAT) AS f FROM read_json('${answers}/float-keys/in.json', format = 'newline_delimited', columns = {ts: 'TIMESTAMP', d: 'DOUBLE', f: 'FLOAT', r: 'STRUCT(d DOUBLE)', v: 'INTEGER'})
