-- The everyday aggregates per user, over values with NULLs.
-- stream
SELECT window_start, user_id, COUNT(*) AS n, COUNT(duration_ms) AS m, SUM(duration_ms) AS s, MIN(duration_ms) AS lo,
  MAX(duration_ms) AS hi, AVG(duration_ms) AS mean, SUM(price) AS paid, MIN(price) AS cheapest, AVG(price) AS usual
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end, user_id;
-- batch
SELECT date_bin(INTERVAL '30 seconds', ts), user_id, count(*), count(duration_ms), sum(duration_ms), min(duration_ms),
  max(duration_ms), avg(duration_ms), sum(price), min(price), avg(price)
FROM clicks GROUP BY 1, 2
