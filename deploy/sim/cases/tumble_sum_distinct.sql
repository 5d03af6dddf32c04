-- The sum of distinct values, without a key.
-- stream
SELECT window_start, SUM(DISTINCT duration_ms) AS s, COUNT(DISTINCT page) AS pages
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY window_start, window_end;
-- batch
SELECT w, sum(d), (SELECT count(DISTINCT page) FROM clicks c WHERE date_bin(INTERVAL '20 seconds', c.ts) = w)
FROM (SELECT DISTINCT date_bin(INTERVAL '20 seconds', ts) AS w, duration_ms AS d FROM clicks) GROUP BY w
