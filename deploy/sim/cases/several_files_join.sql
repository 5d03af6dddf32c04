-- Both sides of a join are read from several files whose times overlap.
-- stream
SELECT a.id AS one, b.id AS other, a.window_start
FROM (SELECT * FROM TABLE(TUMBLE(TABLE click_parts, DESCRIPTOR(ts), INTERVAL '5' SECOND))) AS a
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '5' SECOND))) AS b
ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.user_id = b.bidder AND a.duration_ms < b.price;
-- batch
SELECT a.id, b.id, date_bin(INTERVAL '5 seconds', a.ts) FROM clicks a JOIN bids b
ON date_bin(INTERVAL '5 seconds', a.ts) = date_bin(INTERVAL '5 seconds', b.ts) AND a.user_id = b.bidder AND a.duration_ms < b.price
