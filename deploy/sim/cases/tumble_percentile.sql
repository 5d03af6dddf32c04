-- An aggregate whose state is all of its values.
-- stream
SELECT window_start, page, PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY duration_ms) AS m
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '1 minute', ts), page, percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) FROM clicks GROUP BY 1, 2
