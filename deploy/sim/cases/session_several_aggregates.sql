-- Merging sessions merges the state of every aggregate.
-- stream
SELECT window_start, window_end, auction, MAX(price) AS top, AVG(price) AS mean, COUNT(DISTINCT bidder) AS bidders
FROM TABLE(SESSION(TABLE bids PARTITION BY auction, DESCRIPTOR(ts), INTERVAL '4' SECOND)) GROUP BY window_start, window_end, auction;
-- batch
WITH marked AS (
  SELECT *, CASE WHEN CAST(ts AS BIGINT) - lag(CAST(ts AS BIGINT)) OVER (PARTITION BY auction ORDER BY ts, id) <= 4000 THEN 0 ELSE 1 END AS first FROM bids),
numbered AS (SELECT *, sum(first) OVER (PARTITION BY auction ORDER BY ts, id ROWS UNBOUNDED PRECEDING) AS session FROM marked)
SELECT min(ts), max(ts) + INTERVAL '4 seconds', auction, max(price), avg(price), count(DISTINCT bidder) FROM numbered GROUP BY auction, session
