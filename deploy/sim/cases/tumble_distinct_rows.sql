-- Groups without aggregates.
-- stream
SELECT window_start, page, country
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, page, country;
-- batch
SELECT DISTINCT date_bin(INTERVAL '1 minute', ts), page, country FROM clicks
