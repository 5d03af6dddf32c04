-- A window of credit that holds a few rows only.
-- stream
SET 'exchange.window' = '1 KiB';
SET 'exchange.compression' = 'lz4';
SELECT a.id AS one, b.id AS other
FROM (SELECT * FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND))) AS a
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE click_parts, DESCRIPTOR(ts), INTERVAL '10' SECOND))) AS b
ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.user_id = b.user_id AND a.id < b.id;
-- batch
SELECT a.id, b.id FROM clicks a JOIN clicks b
ON date_bin(INTERVAL '10 seconds', a.ts) = date_bin(INTERVAL '10 seconds', b.ts) AND a.user_id = b.user_id AND a.id < b.id
