CREATE TABLE t (id INT, ts TIMESTAMP(3), b BOOLEAN, y TINYINT, i INT, l BIGINT, f FLOAT, d DOUBLE, n DECIMAL(10, 2), m DECIMAL(38, 10), s STRING, u STRING, dt DATE, t3 TIMESTAMP(3), t6 TIMESTAMP(6), r ROW<a INT, b STRING>, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${answers}/edges/in.json', 'format' = 'json');
SELECT id, REPEAT(u, 2) AS x0,
  REPLACE(s, 'a', 'é') AS x1,
  TRIM(s) AS x2,
  TRIM(BOTH 'a' FROM s) AS x3,
  LTRIM(s) AS x4,
  CONCAT_WS('-', s, u) AS x5,
  s || u AS x6,
  MD5(s) AS x7,
  TRANSLATE(s,'a','b') AS x8,
  REGEXP_REPLACE(u, '.', 'x') AS x9,
  CASE WHEN dt < DATE '9999-01-01' THEN t3 + INTERVAL '1' MONTH END AS x10,
  CASE WHEN dt > DATE '0002-01-01' THEN dt - INTERVAL '1' YEAR END AS x11,
  CASE WHEN dt < DATE '9999-01-01' THEN dt + INTERVAL '1' DAY END AS x12
FROM t;
