-- Windows of negative time, from microseconds in CSV.
-- stream
SELECT window_start, window_end, room, COUNT(*) AS n, MIN(temperature) AS lo, AVG(temperature) AS mean
FROM TABLE(TUMBLE(TABLE sensors, DESCRIPTOR(ts), INTERVAL '7' SECOND)) GROUP BY window_start, window_end, room;
-- batch
SELECT date_bin(INTERVAL '7 seconds', ts), date_bin(INTERVAL '7 seconds', ts) + INTERVAL '7 seconds', room, count(*), min(temperature), avg(temperature)
FROM sensors GROUP BY 1, 2, 3
