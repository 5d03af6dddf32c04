WITH t AS (SELECT * FROM read_json('${answers}/edges/in.json', format = 'newline_delimited', columns = {id: 'INTEGER', ts: 'TIMESTAMP', b: 'BOOLEAN', y: 'TINYINT', i: 'INTEGER', l: 'BIGINT', f: 'FLOAT', d: 'DOUBLE', n: 'DECIMAL(10,2)', m: 'DECIMAL(38,10)', s: 'VARCHAR', u: 'VARCHAR', dt: 'DATE', t3: 'TIMESTAMP', t6: 'TIMESTAMP', r: 'STRUCT(a INTEGER, b VARCHAR)'}))
SELECT MAX(i) FILTER (WHERE i < -7) AS x0,
  SUM(n) FILTER (WHERE n IN (2.5, 1)) AS x1,
  COUNT(DISTINCT d) FILTER (WHERE d <= 0) AS x2,
  STDDEV_POP(i) AS x3
FROM t GROUP BY date_trunc('minute', ts)
