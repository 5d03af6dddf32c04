CREATE TABLE t (ts TIMESTAMP(3), s STRING, i INT, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = '${answers}/guards/timed.json', 'format' = 'json');
SELECT i, CASE WHEN s <> 'x' THEN n ELSE 0 END AS a, CASE WHEN s <> 'x' THEN n + 1 END AS b FROM (SELECT i, s, CAST(s AS INT) AS n FROM t);
