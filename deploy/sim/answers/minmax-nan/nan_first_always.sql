SET 'optimizer.two-phase' = 'always';
CREATE TABLE t (ts TIMESTAMP(3), k INT, d DOUBLE, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${answers}/minmax-nan/nan_first.json', 'format' = 'json');
SELECT CAST(MIN(d) AS STRING) a, CAST(MAX(d) AS STRING) b FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, k;