-- Doubles as join keys: minus zero meets zero, NULL meets nothing.
-- stream
SELECT a.id AS one, b.id AS other
FROM (SELECT * FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND))) AS a
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE click_parts, DESCRIPTOR(ts), INTERVAL '30' SECOND))) AS b
ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.price = b.price AND a.id < b.id;
-- batch
SELECT a.id, b.id FROM clicks a JOIN clicks b
ON date_bin(INTERVAL '30 seconds', a.ts) = date_bin(INTERVAL '30 seconds', b.ts) WHERE a.price + 0.0 = b.price + 0.0 AND a.id < b.id
