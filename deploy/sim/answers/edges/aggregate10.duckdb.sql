WITH t AS (SELECT * FROM read_json('${answers}/edges/in.json', format = 'newline_delimited', columns = {id: 'INTEGER', ts: 'TIMESTAMP', b: 'BOOLEAN', y: 'TINYINT', i: 'INTEGER', l: 'BIGINT', f: 'FLOAT', d: 'DOUBLE', n: 'DECIMAL(10,2)', m: 'DECIMAL(38,10)', s: 'VARCHAR', u: 'VARCHAR', dt: 'DATE', t3: 'TIMESTAMP', t6: 'TIMESTAMP', r: 'STRUCT(a INTEGER, b VARCHAR)'}))
SELECT COUNT(*) FILTER (WHERE NOT d > 0) AS x0,
  COUNT(*) FILTER (WHERE b) AS x1,
  COUNT(*) FILTER (WHERE b IS NOT TRUE) AS x2,
  MIN(d) FILTER (WHERE d <> d) AS x3
FROM t GROUP BY date_trunc('minute', ts)
