-- Files whose times overlap: an unread one holds the watermark back, so nothing is late.
-- stream
SELECT window_start, page, COUNT(*) AS n, SUM(duration_ms) AS s
FROM TABLE(TUMBLE(TABLE click_parts, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '10 seconds', ts), page, count(*), sum(duration_ms) FROM clicks GROUP BY 1, 2
