-- A key of floats, minus zero among them.
-- stream
SELECT window_start, price, COUNT(*) AS n, MIN(id) AS first_id
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) GROUP BY window_start, window_end, price;
-- batch
SELECT date_bin(INTERVAL '2 minutes', ts), price + 0.0, count(*), min(id) FROM clicks GROUP BY 1, 2
