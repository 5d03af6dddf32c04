-- An aggregate over an aggregate of the same window.
-- stream
WITH per_page AS (
  SELECT window_start, window_end, page, COUNT(*) AS n
  FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end, page)
SELECT window_start, window_end, MAX(n) AS most, MIN(n) AS least, COUNT(*) AS pages FROM per_page GROUP BY window_start, window_end;
-- batch
SELECT w, w + INTERVAL '30 seconds', max(n), min(n), count(*)
FROM (SELECT date_bin(INTERVAL '30 seconds', ts) AS w, page, count(*) AS n FROM clicks GROUP BY 1, 2) GROUP BY 1, 2
