-- The same per page; a page without new rows in a step still has its window.
-- stream
SELECT window_start, window_end, page, COUNT(*) AS n, MAX(price) AS hi
FROM TABLE(CUMULATE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, page;
-- batch
SELECT w, e, page, count(*), max(price) FROM (
  SELECT *, date_bin(INTERVAL '1 minute', ts) AS w,
    date_bin(INTERVAL '1 minute', ts) + unnest([INTERVAL '20 seconds', INTERVAL '40 seconds', INTERVAL '60 seconds']) AS e
  FROM clicks) WHERE ts < e GROUP BY 1, 2, 3
