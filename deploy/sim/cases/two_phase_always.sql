-- Pre-aggregated before the exchange, whatever the planner thinks.
-- stream
SET 'optimizer.two-phase' = 'always';
SELECT window_start, page, COUNT(*) AS n, SUM(duration_ms) AS s, AVG(price) AS mean, MIN(ts) AS first_seen
FROM TABLE(HOP(TABLE click_parts, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end, page;
-- batch
SELECT w, page, count(*), sum(duration_ms), avg(price), min(ts) FROM (
  SELECT *, date_bin(INTERVAL '10 seconds', ts) - unnest([INTERVAL '0 seconds', INTERVAL '10 seconds']) AS w FROM clicks) GROUP BY 1, 2
