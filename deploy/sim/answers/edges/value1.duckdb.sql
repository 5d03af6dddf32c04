WITH t AS (SELECT * FROM read_json('${answers}/edges/in.json', format = 'newline_delimited', columns = {id: 'INTEGER', ts: 'TIMESTAMP', b: 'BOOLEAN', y: 'TINYINT', i: 'INTEGER', l: 'BIGINT', f: 'FLOAT', d: 'DOUBLE', n: 'DECIMAL(10,2)', m: 'DECIMAL(38,10)', s: 'VARCHAR', u: 'VARCHAR', dt: 'DATE', t3: 'TIMESTAMP', t6: 'TIMESTAMP', r: 'STRUCT(a INTEGER, b VARCHAR)'}))
SELECT id, CASE WHEN d > 0 THEN 'p' WHEN d < 0 THEN 'n' WHEN d = 0 THEN 'z' ELSE 'u' END AS x0,
  CASE b WHEN TRUE THEN 1 WHEN FALSE THEN 2 ELSE 3 END AS x1,
  CASE s WHEN '' THEN 'e' WHEN NULL THEN 'null' ELSE s END AS x2,
  CASE WHEN b THEN i END AS x3,
  CASE d WHEN CAST('NaN' AS DOUBLE) THEN 'nan' WHEN 0 THEN 'zero' ELSE 'x' END AS x4,
  COALESCE(i, 0) AS x5,
  COALESCE(b, FALSE) AS x6,
  GREATEST(t3, t6) AS x7,
  CAST(n AS VARCHAR) AS x8,
  CAST(m AS VARCHAR) AS x9,
  CAST(dt AS VARCHAR) AS x10,
  CAST(l AS VARCHAR) AS x11,
  TRY_CAST(s AS INT) AS x12,
  TRY_CAST(s AS DOUBLE) AS x13
FROM t
