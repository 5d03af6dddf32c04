-- Two aggregated streams by key.
-- stream
WITH c AS (
  SELECT window_start, window_end, user_id, COUNT(*) AS clicks, SUM(price) AS spent
  FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, user_id),
b AS (
  SELECT window_start, window_end, bidder, MAX(price) AS top
  FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, bidder)
SELECT c.window_start, c.user_id, c.clicks, c.spent, b.top FROM c JOIN b
ON c.window_start = b.window_start AND c.window_end = b.window_end AND c.user_id = b.bidder;
-- batch
SELECT c.w, c.user_id, c.clicks, c.spent, b.top
FROM (SELECT date_bin(INTERVAL '1 minute', ts) AS w, user_id, count(*) AS clicks, sum(price) AS spent FROM clicks GROUP BY 1, 2) c
JOIN (SELECT date_bin(INTERVAL '1 minute', ts) AS w, bidder, max(price) AS top FROM bids GROUP BY 1, 2) b ON c.w = b.w AND c.user_id = b.bidder
