CREATE TABLE t (id INT, ts TIMESTAMP(3), b BOOLEAN, y TINYINT, i INT, l BIGINT, f FLOAT, d DOUBLE, n DECIMAL(10, 2), m DECIMAL(38, 10), s STRING, u STRING, dt DATE, t3 TIMESTAMP(3), t6 TIMESTAMP(6), r ROW<a INT, b STRING>, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${answers}/edges/in.json', 'format' = 'json');
SELECT MAX(i) FILTER (WHERE i < -7) AS x0,
  SUM(n) FILTER (WHERE n IN (2.5, 1)) AS x1,
  COUNT(DISTINCT d) FILTER (WHERE d <= 0) AS x2,
  STDDEV_POP(i) AS x3
FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
