CREATE TABLE t (ts TIMESTAMP(3), s STRING, i INT, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${answers}/guards/timed.json', 'format' = 'json');
SELECT SUM(CAST(s AS INT)) AS a FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) WHERE window_start > TIMESTAMP '2026-01-01 00:00:00' AND 10 / (i - 1) > 2 GROUP BY window_start, window_end;
