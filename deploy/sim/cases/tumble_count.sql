-- No key: one subtask counts.
-- stream
SELECT window_start, window_end, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
-- batch
SELECT date_bin(INTERVAL '10 seconds', ts), date_bin(INTERVAL '10 seconds', ts) + INTERVAL '10 seconds', count(*) FROM clicks GROUP BY 1, 2
