CREATE TABLE t (ts TIMESTAMP(3), s STRING, i INT, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${answers}/guards/timed.json', 'format' = 'json');
SELECT SUM(CAST(s AS INT)) FILTER (WHERE s <> 'x') AS a, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
