-- Windows over the results of sessions, by their time: none of these may come behind the watermark that was forwarded.
-- stream
CREATE VIEW per_user AS
  SELECT window_time AS rowtime, user_id, COUNT(*) AS n
  FROM TABLE(SESSION(TABLE clicks PARTITION BY user_id, DESCRIPTOR(ts), INTERVAL '2' SECOND)) GROUP BY window_start, window_end, window_time, user_id;
SELECT window_start, window_end, MAX(n) AS longest, SUM(n) AS total, COUNT(*) AS sessions
FROM TABLE(TUMBLE(TABLE per_user, DESCRIPTOR(rowtime), INTERVAL '1' SECOND)) GROUP BY window_start, window_end;
-- batch
WITH marked AS (
  SELECT *, CASE WHEN CAST(ts AS BIGINT) - lag(CAST(ts AS BIGINT)) OVER (PARTITION BY user_id ORDER BY ts, id) <= 2000 THEN 0 ELSE 1 END AS first FROM clicks),
numbered AS (SELECT *, sum(first) OVER (PARTITION BY user_id ORDER BY ts, id ROWS UNBOUNDED PRECEDING) AS session FROM marked),
sessions AS (
  SELECT date_bin(INTERVAL '1 second', max(ts) + INTERVAL '2 seconds' - INTERVAL '1 millisecond') AS w, count(*) AS n
  FROM numbered GROUP BY user_id, session)
SELECT w, w + INTERVAL '1 second', max(n), sum(n), count(*) FROM sessions GROUP BY w
