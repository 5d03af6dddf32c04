-- NULLs on both sides, in keys and in further conditions: none of them is true.
-- stream
SELECT a.id AS one, b.id AS other
FROM (SELECT * FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '20' SECOND))) AS a
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE click_parts, DESCRIPTOR(ts), INTERVAL '20' SECOND))) AS b
ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.country = b.country AND a.ok = b.ok
  AND a.id <> b.id AND (a.duration_ms < b.duration_ms OR a.price > b.price);
-- batch
SELECT a.id, b.id FROM clicks a JOIN clicks b
ON date_bin(INTERVAL '20 seconds', a.ts) = date_bin(INTERVAL '20 seconds', b.ts) AND a.country = b.country AND a.ok = b.ok
WHERE a.id <> b.id AND (a.duration_ms < b.duration_ms OR a.price > b.price)
