-- The first and last moment of each window.
-- stream
SELECT window_start, page, MIN(ts) AS first_seen, MAX(ts) AS last_seen
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '30 seconds', ts), page, min(ts), max(ts) FROM clicks GROUP BY 1, 2
