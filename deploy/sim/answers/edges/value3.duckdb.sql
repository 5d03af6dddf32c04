WITH t AS (SELECT * FROM read_json('${answers}/edges/in.json', format = 'newline_delimited', columns = {id: 'INTEGER', ts: 'TIMESTAMP', b: 'BOOLEAN', y: 'TINYINT', i: 'INTEGER', l: 'BIGINT', f: 'FLOAT', d: 'DOUBLE', n: 'DECIMAL(10,2)', m: 'DECIMAL(38,10)', s: 'VARCHAR', u: 'VARCHAR', dt: 'DATE', t3: 'TIMESTAMP', t6: 'TIMESTAMP', r: 'STRUCT(a INTEGER, b VARCHAR)'}))
SELECT id, CAST(i AS BIGINT) * i AS x0,
  CAST(i AS BIGINT) - 1 AS x1,
  CAST(trunc(i/2.0) AS INT) AS x2,
  d / 2 AS x3,
  ABS(n) AS x4,
  CEIL(d) AS x5,
  LOWER(u) AS x6,
  REVERSE(u) AS x7,
  SUBSTRING(u, 1, 1) AS x8,
  SUBSTRING(u, 2) AS x9,
  LEFT(u,1) AS x10,
  RIGHT(u, 1) AS x11,
  LPAD(u, 3, '-') AS x12,
  RPAD(u, 3, '日') AS x13
FROM t
