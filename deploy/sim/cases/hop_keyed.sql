-- Panes are merged for every kind of aggregate.
-- stream
SELECT window_end, page, COUNT(*) AS n, SUM(duration_ms) AS s, MIN(price) AS lo, MAX(price) AS hi, AVG(duration_ms) AS mean, COUNT(DISTINCT user_id) AS users
FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, page;
-- batch
SELECT w + INTERVAL '60 seconds', page, count(*), sum(duration_ms), min(price), max(price), avg(duration_ms), count(DISTINCT user_id) FROM (
  SELECT *, date_bin(INTERVAL '10 seconds', ts) - unnest([INTERVAL '0 seconds', INTERVAL '10 seconds', INTERVAL '20 seconds', INTERVAL '30 seconds', INTERVAL '40 seconds', INTERVAL '50 seconds']) AS w
  FROM clicks) GROUP BY 1, 2
