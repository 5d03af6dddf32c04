-- Sessions over a file in many splits: a session may reach over the end of one.
-- stream
CREATE TABLE pieces (
  id BIGINT, ts TIMESTAMP(3), user_id BIGINT, page STRING, duration_ms INT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/clicks.json', 'format' = 'json', 'source.split-size' = '8 KiB');
SELECT window_start, window_end, user_id, COUNT(*) AS n, SUM(duration_ms) AS s
FROM TABLE(SESSION(TABLE pieces PARTITION BY user_id, DESCRIPTOR(ts), INTERVAL '2' SECOND)) GROUP BY window_start, window_end, user_id;
-- batch
WITH marked AS (
  SELECT *, CASE WHEN CAST(ts AS BIGINT) - lag(CAST(ts AS BIGINT)) OVER (PARTITION BY user_id ORDER BY ts, id) <= 2000 THEN 0 ELSE 1 END AS first FROM clicks),
numbered AS (SELECT *, sum(first) OVER (PARTITION BY user_id ORDER BY ts, id ROWS UNBOUNDED PRECEDING) AS session FROM marked)
SELECT min(ts), max(ts) + INTERVAL '2 seconds', user_id, count(*), sum(duration_ms) FROM numbered GROUP BY user_id, session
