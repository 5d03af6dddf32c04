-- A join with a further condition in batches of one row.
-- stream
SET 'pipeline.batch-rows' = '1';
SELECT c.id AS click, b.id AS bid
FROM (SELECT * FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND))) AS c
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '30' SECOND))) AS b
ON c.window_start = b.window_start AND c.window_end = b.window_end AND c.user_id = b.bidder AND c.duration_ms < b.price
WHERE b.price > 100;
-- batch
SELECT c.id, b.id FROM clicks c JOIN bids b
ON date_bin(INTERVAL '30 seconds', c.ts) = date_bin(INTERVAL '30 seconds', b.ts) AND c.user_id = b.bidder
WHERE c.duration_ms < b.price AND b.price > 100
