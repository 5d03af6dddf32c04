-- What cannot be pre-aggregated is not, even where it is asked for.
-- stream
SET 'optimizer.two-phase' = 'always';
SELECT window_start, page, COUNT(DISTINCT user_id) AS users
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '1 minute', ts), page, count(DISTINCT user_id) FROM clicks GROUP BY 1, 2
