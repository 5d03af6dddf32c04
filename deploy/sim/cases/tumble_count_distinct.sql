-- Distinct counts of integers and text, beside plain ones.
-- stream
SELECT window_start, page, COUNT(DISTINCT user_id) AS users, COUNT(DISTINCT country) AS countries, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '1 minute', ts), page, count(DISTINCT user_id), count(DISTINCT country), count(*) FROM clicks GROUP BY 1, 2
