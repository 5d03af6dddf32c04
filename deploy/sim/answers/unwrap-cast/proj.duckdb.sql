-- DuckDB's casts to integers round; Flink's cut off what follows the point.
SELECT i, CAST(trunc(d) AS INTEGER) AS x, CAST(trunc(d) AS INTEGER) = 2 AS y FROM read_json('${answers}/unwrap-cast/in.json', format = 'newline_delimited', columns = {ts: 'TIMESTAMP', i: 'INTEGER', d: 'DECIMAL(10, 2)', n: 'BIGINT'}) WHERE i < 4
