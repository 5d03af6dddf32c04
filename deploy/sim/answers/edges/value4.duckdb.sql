WITH t AS (SELECT * FROM read_json('${answers}/edges/in.json', format = 'newline_delimited', columns = {id: 'INTEGER', ts: 'TIMESTAMP', b: 'BOOLEAN', y: 'TINYINT', i: 'INTEGER', l: 'BIGINT', f: 'FLOAT', d: 'DOUBLE', n: 'DECIMAL(10,2)', m: 'DECIMAL(38,10)', s: 'VARCHAR', u: 'VARCHAR', dt: 'DATE', t3: 'TIMESTAMP', t6: 'TIMESTAMP', r: 'STRUCT(a INTEGER, b VARCHAR)'}))
SELECT id, REPEAT(u, 2) AS x0,
  REPLACE(s, 'a', 'é') AS x1,
  TRIM(s) AS x2,
  TRIM(BOTH 'a' FROM s) AS x3,
  LTRIM(s) AS x4,
  CONCAT_WS('-', s, u) AS x5,
  s || u AS x6,
  MD5(s) AS x7,
  translate(s,'a','b') AS x8,
  regexp_replace(u, '.', 'x', 'g') AS x9,
  CASE WHEN dt < DATE '9999-01-01' THEN t3 + INTERVAL '1' MONTH END AS x10,
  CASE WHEN dt > DATE '0002-01-01' THEN CAST(dt - INTERVAL '1' YEAR AS DATE) END AS x11,
  CASE WHEN dt < DATE '9999-01-01' THEN CAST(dt + INTERVAL '1' DAY AS DATE) END AS x12
FROM t
