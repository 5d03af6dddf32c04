-- Least and greatest text, and logical aggregates.
-- stream
SELECT window_start, user_id, MIN(country) AS a, MAX(page) AS b, BOOL_AND(ok) AS c, BOOL_OR(ok) AS d
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, user_id;
-- batch
SELECT date_bin(INTERVAL '1 minute', ts), user_id, min(country), max(page), bool_and(ok), bool_or(ok) FROM clicks GROUP BY 1, 2
