CREATE TABLE t (ts TIMESTAMP(3), s STRING, i INT, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${answers}/guards/timed.json', 'format' = 'json');
SELECT i, CAST(s AS INT) AS n FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) WHERE window_start > TIMESTAMP '2026-01-01 00:00:00' AND CAST(s AS INT) > 8;
