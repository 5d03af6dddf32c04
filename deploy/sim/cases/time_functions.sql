-- Parts and truncation of timestamps, and arithmetic with intervals.
-- stream
SELECT id, EXTRACT(MINUTE FROM ts) AS a, EXTRACT(SECOND FROM ts) AS b, DATE_TRUNC('minute', ts) AS c, ts + INTERVAL '1' HOUR AS d
FROM clicks WHERE ts >= TIMESTAMP '2026-01-01 00:03:00';
-- batch
SELECT id, date_part('minute', ts), date_part('second', ts), date_trunc('minute', ts), ts + INTERVAL '3600 seconds'
FROM clicks WHERE ts >= TIMESTAMP '2026-01-01T00:03:00'
