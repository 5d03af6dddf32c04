WITH t AS (SELECT * FROM read_json('${answers}/edges/in.json', format = 'newline_delimited', columns = {id: 'INTEGER', ts: 'TIMESTAMP', b: 'BOOLEAN', y: 'TINYINT', i: 'INTEGER', l: 'BIGINT', f: 'FLOAT', d: 'DOUBLE', n: 'DECIMAL(10,2)', m: 'DECIMAL(38,10)', s: 'VARCHAR', u: 'VARCHAR', dt: 'DATE', t3: 'TIMESTAMP', t6: 'TIMESTAMP', r: 'STRUCT(a INTEGER, b VARCHAR)'}))
SELECT VAR_SAMP(CAST(n AS DOUBLE)) AS x0,
  STDDEV_SAMP(d) FILTER (WHERE ABS(d) < 100) AS x1,
  string_agg(s, ',' ORDER BY id) AS x2,
  string_agg(DISTINCT u, ',' ORDER BY u) AS x3
FROM t GROUP BY date_trunc('minute', ts)
