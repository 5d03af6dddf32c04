-- A condition over aggregates that are not all in the result.
-- stream
SELECT window_start, user_id, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, user_id
HAVING COUNT(*) > 8 AND AVG(duration_ms) > 50;
-- batch
SELECT w, user_id, n FROM (SELECT date_bin(INTERVAL '1 minute', ts) AS w, user_id, count(*) AS n, avg(duration_ms) AS a FROM clicks GROUP BY 1, 2)
WHERE n > 8 AND a > 50
