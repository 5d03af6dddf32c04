CREATE TABLE t (id INT, ts TIMESTAMP(3), b BOOLEAN, y TINYINT, i INT, l BIGINT, f FLOAT, d DOUBLE, n DECIMAL(10, 2), m DECIMAL(38, 10), s STRING, u STRING, dt DATE, t3 TIMESTAMP(3), t6 TIMESTAMP(6), r ROW<a INT, b STRING>, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${answers}/edges/in.json', 'format' = 'json');
SELECT COUNT(DISTINCT s) AS x0,
  COUNT(DISTINCT b) AS x1,
  COUNT(DISTINCT n) AS x2,
  COUNT(DISTINCT r) AS x3
FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
