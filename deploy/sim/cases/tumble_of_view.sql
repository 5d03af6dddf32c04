-- A window over a view that filters and computes.
-- stream
CREATE VIEW priced AS SELECT ts, user_id, price * 2 AS twice FROM clicks WHERE price IS NOT NULL;
SELECT window_start, user_id, SUM(twice) AS s
FROM TABLE(TUMBLE(TABLE priced, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, user_id;
-- batch
SELECT date_bin(INTERVAL '1 minute', ts), user_id, sum(price * 2) FROM clicks WHERE price IS NOT NULL GROUP BY 1, 2
