-- The sum of distinct values, without a key.
-- stream
SELECT window_start, SUM(DISTINCT duration_ms) AS s, COUNT(DISTINCT page) AS pages
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY window_start, window_end;
-- batch
SELECT d.w, d.s, p.n
FROM (SELECT w, sum(v) AS s FROM (SELECT DISTINCT date_bin(INTERVAL '20 seconds', ts) AS w, duration_ms AS v FROM clicks) GROUP BY w) d
JOIN (SELECT date_bin(INTERVAL '20 seconds', ts) AS w, count(DISTINCT page) AS n FROM clicks GROUP BY 1) p ON d.w = p.w
