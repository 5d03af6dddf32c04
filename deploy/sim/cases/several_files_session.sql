-- Sessions whose records come from several files.
-- stream
SELECT window_start, window_end, page, COUNT(*) AS n, MIN(id) AS first_id, MAX(duration_ms) AS longest
FROM TABLE(SESSION(TABLE click_parts PARTITION BY page, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY window_start, window_end, page;
-- batch
WITH marked AS (
  SELECT *, CASE WHEN CAST(ts AS BIGINT) - lag(CAST(ts AS BIGINT)) OVER (PARTITION BY page ORDER BY ts, id) <= 3000 THEN 0 ELSE 1 END AS first FROM clicks),
numbered AS (SELECT *, sum(first) OVER (PARTITION BY page ORDER BY ts, id ROWS UNBOUNDED PRECEDING) AS session FROM marked)
SELECT min(ts), max(ts) + INTERVAL '3 seconds', page, count(*), min(id), max(duration_ms) FROM numbered GROUP BY page, session
