CREATE TABLE t (id INT, ts TIMESTAMP(3), b BOOLEAN, y TINYINT, i INT, l BIGINT, f FLOAT, d DOUBLE, n DECIMAL(10, 2), m DECIMAL(38, 10), s STRING, u STRING, dt DATE, t3 TIMESTAMP(3), t6 TIMESTAMP(6), r ROW<a INT, b STRING>, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${answers}/edges/in.json', 'format' = 'json');
SELECT id, CAST(i AS BIGINT) * i AS x0,
  CAST(i AS BIGINT) - 1 AS x1,
  i / 2 AS x2,
  d / 2 AS x3,
  ABS(n) AS x4,
  CEIL(d) AS x5,
  LOWER(u) AS x6,
  REVERSE(u) AS x7,
  SUBSTRING(u, 1, 1) AS x8,
  SUBSTRING(u, 2) AS x9,
  LEFT(u, 1) AS x10,
  RIGHT(u, 1) AS x11,
  LPAD(u, 3, '-') AS x12,
  RPAD(u, 3, '日') AS x13
FROM t;
