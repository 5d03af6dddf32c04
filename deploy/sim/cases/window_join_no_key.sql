-- Equal windows alone, and the rest by condition.
-- stream
SELECT c.n AS clicks, b.n AS bids, c.window_end
FROM (SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end) AS c
JOIN (SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end) AS b
ON c.window_start = b.window_start AND c.window_end = b.window_end
WHERE c.n <> b.n;
-- batch
SELECT c.n, b.n, c.w + INTERVAL '10 seconds'
FROM (SELECT date_bin(INTERVAL '10 seconds', ts) AS w, count(*) AS n FROM clicks GROUP BY 1) c
JOIN (SELECT date_bin(INTERVAL '10 seconds', ts) AS w, count(*) AS n FROM bids GROUP BY 1) b ON c.w = b.w WHERE c.n <> b.n
