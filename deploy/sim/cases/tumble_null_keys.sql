-- NULL is a key of its own; keys of text, boolean and a field of a ROW together.
-- stream
SELECT window_end, country, ok, device.version AS version, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, country, ok, device.version;
-- batch
SELECT date_bin(INTERVAL '1 minute', ts) + INTERVAL '1 minute', country, ok, device['version'], count(*) FROM clicks GROUP BY 1, 2, 3, 4
