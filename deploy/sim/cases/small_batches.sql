-- Batches of seven rows: every boundary within the operators is crossed.
-- stream
SET 'pipeline.batch-rows' = '7';
SELECT window_start, user_id, COUNT(*) AS n, SUM(duration_ms) AS s
FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end, user_id;
-- batch
SELECT w, user_id, count(*), sum(duration_ms) FROM (
  SELECT *, date_bin(INTERVAL '10 seconds', ts) - unnest([INTERVAL '0 seconds', INTERVAL '10 seconds']) AS w FROM clicks) GROUP BY 1, 2
