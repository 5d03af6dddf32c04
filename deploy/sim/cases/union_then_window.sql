-- One window over two streams: its watermark is the slower one's.
-- stream
CREATE VIEW everything AS
  SELECT ts, user_id AS who, 'click' AS kind FROM clicks
  UNION ALL
  SELECT ts, bidder AS who, 'bid' AS kind FROM bids;
SELECT window_start, kind, COUNT(*) AS n, COUNT(DISTINCT who) AS people
FROM TABLE(TUMBLE(TABLE everything, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY window_start, window_end, kind;
-- batch
SELECT w, kind, count(*), count(DISTINCT who) FROM (
  SELECT date_bin(INTERVAL '20 seconds', ts) AS w, user_id AS who, 'click' AS kind FROM clicks
  UNION ALL SELECT date_bin(INTERVAL '20 seconds', ts), bidder, 'bid' FROM bids) GROUP BY 1, 2
