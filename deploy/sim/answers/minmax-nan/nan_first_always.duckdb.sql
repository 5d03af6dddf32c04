-- DuckDB writes nan, Flink NaN.
SELECT CAST(MIN(d) AS VARCHAR) AS a, replace(CAST(MAX(d) AS VARCHAR), 'nan', 'NaN') AS b FROM read_json('${answers}/minmax-nan/nan_first.json', format = 'newline_delimited', columns = {ts: 'TIMESTAMP', k: 'INTEGER', d: 'DOUBLE'}) GROUP BY time_bucket(INTERVAL '1 minute', ts), k
