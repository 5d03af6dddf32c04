WITH t AS (SELECT * FROM read_json('${answers}/edges/in.json', format = 'newline_delimited', columns = {id: 'INTEGER', ts: 'TIMESTAMP', b: 'BOOLEAN', y: 'TINYINT', i: 'INTEGER', l: 'BIGINT', f: 'FLOAT', d: 'DOUBLE', n: 'DECIMAL(10,2)', m: 'DECIMAL(38,10)', s: 'VARCHAR', u: 'VARCHAR', dt: 'DATE', t3: 'TIMESTAMP', t6: 'TIMESTAMP', r: 'STRUCT(a INTEGER, b VARCHAR)'}))
SELECT first(i ORDER BY t6) FILTER (WHERE i IS NOT NULL) AS x0,
  last(n ORDER BY id) FILTER (WHERE n IS NOT NULL) AS x1,
  BOOL_AND(b) AS x2,
  BIT_OR(y) AS x3
FROM t GROUP BY date_trunc('minute', ts)
