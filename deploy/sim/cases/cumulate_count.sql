-- Windows that grow by ten seconds up to a minute, without a key.
-- stream
SELECT window_start, window_end, COUNT(*) AS n, SUM(duration_ms) AS s
FROM TABLE(CUMULATE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
-- batch
SELECT w, e, count(*), sum(duration_ms) FROM (
  SELECT ts, duration_ms, date_bin(INTERVAL '1 minute', ts) AS w,
    date_bin(INTERVAL '1 minute', ts) + unnest([INTERVAL '10 seconds', INTERVAL '20 seconds', INTERVAL '30 seconds', INTERVAL '40 seconds', INTERVAL '50 seconds', INTERVAL '60 seconds']) AS e
  FROM clicks) WHERE ts < e GROUP BY 1, 2
