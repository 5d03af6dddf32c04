-- Windows that begin at 3, 13, 23, … seconds.
-- stream
SELECT window_start, window_end, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '3' SECOND)) GROUP BY window_start, window_end;
-- batch
SELECT date_bin(INTERVAL '10 seconds', ts, TIMESTAMP '1970-01-01T00:00:03') AS w,
  date_bin(INTERVAL '10 seconds', ts, TIMESTAMP '1970-01-01T00:00:03') + INTERVAL '10 seconds', count(*)
FROM clicks GROUP BY 1, 2
