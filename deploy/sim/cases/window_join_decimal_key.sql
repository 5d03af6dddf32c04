-- Decimals as join keys are equal by value.
-- stream
SELECT a.id AS one, b.id AS other, a.price
FROM (SELECT * FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS a
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) AS b
ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.price = b.price AND a.id < b.id;
-- batch
SELECT a.id, b.id, a.price FROM trades a JOIN trades b
ON date_bin(INTERVAL '1 minute', a.ts) = date_bin(INTERVAL '1 minute', b.ts) AND a.price = b.price WHERE a.id < b.id
