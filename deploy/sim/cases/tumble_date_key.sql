-- A key of dates and one of timestamps.
-- stream
SELECT window_start, CAST(ts AS DATE) AS d, DATE_TRUNC('minute', ts) AS m, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, CAST(ts AS DATE), DATE_TRUNC('minute', ts);
-- batch
SELECT date_bin(INTERVAL '5 minutes', ts), CAST(ts AS DATE), date_trunc('minute', ts), count(*) FROM clicks GROUP BY 1, 2, 3
