-- Hopping windows of negative time.
-- stream
SELECT window_start, sensor, AVG(temperature) AS mean
FROM TABLE(HOP(TABLE sensors, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end, sensor;
-- batch
SELECT w, sensor, avg(temperature) FROM (
  SELECT *, date_bin(INTERVAL '10 seconds', ts) - unnest([INTERVAL '0 seconds', INTERVAL '10 seconds']) AS w FROM sensors) GROUP BY 1, 2
