-- A join on ROWs: by value, with NULL within them equal to NULL.
-- stream
SELECT l.id AS l, r.id AS r
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND)) l
JOIN TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND)) r
ON l.window_start = r.window_start AND l.window_end = r.window_end AND l.device = r.device AND l.id < r.id;
-- batch
SELECT l.id, r.id FROM clicks l JOIN clicks r ON date_bin(INTERVAL '10 seconds', l.ts) = date_bin(INTERVAL '10 seconds', r.ts)
  AND l.device IS NOT NULL AND r.device IS NOT NULL AND l.id < r.id
  AND (l.device['os'] IS NOT DISTINCT FROM r.device['os']) AND (l.device['version'] IS NOT DISTINCT FROM r.device['version'])
