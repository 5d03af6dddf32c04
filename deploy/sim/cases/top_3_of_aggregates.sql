-- The busiest pages; ties are broken by the whole row.
-- stream
SELECT window_start, window_end, page, n, place FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC) AS place FROM (
    SELECT window_start, window_end, page, COUNT(*) AS n
    FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, page))
WHERE place <= 3;
-- batch
SELECT w, w + INTERVAL '10 seconds', page, n, place FROM (
  SELECT w, page, n, row_number() OVER (PARTITION BY w ORDER BY n DESC, page) AS place FROM (
    SELECT date_bin(INTERVAL '10 seconds', ts) AS w, page, count(*) AS n FROM clicks GROUP BY 1, 2)) WHERE place <= 3
