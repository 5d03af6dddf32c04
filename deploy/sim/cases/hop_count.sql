-- No key.
-- stream
SELECT window_start, window_end, COUNT(*) AS n
FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)) GROUP BY window_start, window_end;
-- batch
SELECT w, w + INTERVAL '15 seconds', count(*) FROM (
  SELECT date_bin(INTERVAL '5 seconds', ts) - unnest([INTERVAL '0 seconds', INTERVAL '5 seconds', INTERVAL '10 seconds']) AS w FROM clicks) GROUP BY 1, 2
