-- Sessions per user that end after two seconds of silence. A record exactly two seconds after the last one is still of it:
-- the watermark closes a session only when it has passed its end.
-- stream
SELECT window_start, window_end, user_id, COUNT(*) AS n, SUM(duration_ms) AS s
FROM TABLE(SESSION(TABLE clicks PARTITION BY user_id, DESCRIPTOR(ts), INTERVAL '2' SECOND)) GROUP BY window_start, window_end, user_id;
-- batch
WITH marked AS (
  SELECT *, CASE WHEN CAST(ts AS BIGINT) - lag(CAST(ts AS BIGINT)) OVER (PARTITION BY user_id ORDER BY ts, id) <= 2000 THEN 0 ELSE 1 END AS first FROM clicks),
numbered AS (SELECT *, sum(first) OVER (PARTITION BY user_id ORDER BY ts, id ROWS UNBOUNDED PRECEDING) AS session FROM marked)
SELECT min(ts), max(ts) + INTERVAL '2 seconds', user_id, count(*), sum(duration_ms) FROM numbered GROUP BY user_id, session
