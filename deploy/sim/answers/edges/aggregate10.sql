CREATE TABLE t (id INT, ts TIMESTAMP(3), b BOOLEAN, y TINYINT, i INT, l BIGINT, f FLOAT, d DOUBLE, n DECIMAL(10, 2), m DECIMAL(38, 10), s STRING, u STRING, dt DATE, t3 TIMESTAMP(3), t6 TIMESTAMP(6), r ROW<a INT, b STRING>, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${answers}/edges/in.json', 'format' = 'json');
SELECT COUNT(*) FILTER (WHERE NOT d > 0) AS x0,
  COUNT(*) FILTER (WHERE b) AS x1,
  COUNT(*) FILTER (WHERE b IS NOT TRUE) AS x2,
  MIN(d) FILTER (WHERE d <> d) AS x3
FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
