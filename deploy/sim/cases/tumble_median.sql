-- An aggregate whose state is all of its values.
-- stream
SELECT window_start, page, MEDIAN(duration_ms) AS m
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '1 minute', ts), page, median(duration_ms) FROM clicks GROUP BY 1, 2
