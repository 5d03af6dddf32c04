-- Rows of two tables in the same window with the same key; NULL keys meet nothing.
-- stream
SELECT c.id AS click, b.id AS bid, c.window_start
FROM (SELECT * FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND))) AS c
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND))) AS b
ON c.window_start = b.window_start AND c.window_end = b.window_end AND c.user_id = b.bidder;
-- batch
SELECT c.id, b.id, date_bin(INTERVAL '10 seconds', c.ts) FROM clicks c JOIN bids b
ON date_bin(INTERVAL '10 seconds', c.ts) = date_bin(INTERVAL '10 seconds', b.ts) AND c.user_id = b.bidder
