WITH t AS (SELECT * FROM read_json('${answers}/edges/in.json', format = 'newline_delimited', columns = {id: 'INTEGER', ts: 'TIMESTAMP', b: 'BOOLEAN', y: 'TINYINT', i: 'INTEGER', l: 'BIGINT', f: 'FLOAT', d: 'DOUBLE', n: 'DECIMAL(10,2)', m: 'DECIMAL(38,10)', s: 'VARCHAR', u: 'VARCHAR', dt: 'DATE', t3: 'TIMESTAMP', t6: 'TIMESTAMP', r: 'STRUCT(a INTEGER, b VARCHAR)'}))
SELECT id, TRY_CAST(s AS DECIMAL(3,1)) AS x0,
  TRY_CAST(l AS INT) AS x1,
  TRY_CAST(m AS DECIMAL(10,2)) AS x2,
  TRY_CAST(i AS TINYINT) AS x3,
  CAST(i AS DOUBLE) AS x4,
  CAST(l AS DOUBLE) AS x5,
  CAST(n AS DECIMAL(12,1)) AS x6,
  CAST(n AS DOUBLE) AS x7,
  CAST(m AS DOUBLE) AS x8,
  CAST(t6 AS DATE) AS x9,
  CAST(dt AS TIMESTAMP) AS x10,
  CAST(b AS INT) AS x11,
  CAST(i AS BOOLEAN) AS x12,
  i + 0 AS x13
FROM t
