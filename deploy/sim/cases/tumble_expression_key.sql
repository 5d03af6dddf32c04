-- Keys and arguments that are computed.
-- stream
SELECT window_start, duration_ms / 100 AS bucket, SUM(duration_ms * 2 + 1) AS s, MAX(CHAR_LENGTH(page)) AS longest
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, duration_ms / 100;
-- batch
SELECT date_bin(INTERVAL '1 minute', ts), duration_ms / 100, sum(duration_ms * 2 + 1), max(character_length(page)) FROM clicks GROUP BY 1, 2
-- duckdb
SELECT date_bin(INTERVAL '1 minute', ts), duration_ms // 100, sum(duration_ms * 2 + 1), max(character_length(page)) FROM clicks GROUP BY 1, 2
