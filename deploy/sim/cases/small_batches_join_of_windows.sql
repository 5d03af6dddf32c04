-- A join of windows over windows in batches of seven rows.
-- stream
SET 'pipeline.batch-rows' = '7';
SELECT a.window_start, a.auction, a.n
FROM (
  SELECT window_start, window_end, auction, COUNT(*) AS n
  FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end, auction) AS a
JOIN (
  SELECT window_start, window_end, MAX(n) AS most FROM (
    SELECT window_start, window_end, auction, COUNT(*) AS n
    FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end, auction)
  GROUP BY window_start, window_end) AS m
ON a.window_start = m.window_start AND a.window_end = m.window_end AND a.n >= m.most;
-- batch
WITH n AS (SELECT w, auction, count(*) AS n FROM (
  SELECT auction, date_bin(INTERVAL '5 seconds', ts) - unnest([INTERVAL '0 seconds', INTERVAL '5 seconds']) AS w FROM bids) GROUP BY 1, 2),
m AS (SELECT w, max(n) AS most FROM n GROUP BY w)
SELECT n.w, n.auction, n.n FROM n JOIN m ON n.w = m.w WHERE n.n >= m.most
