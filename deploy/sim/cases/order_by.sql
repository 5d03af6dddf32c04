-- Bounded input in an order, of which only some rows are wanted; what ties is told apart by the last column.
-- stream
SELECT id, price, page FROM clicks ORDER BY price DESC, id LIMIT 10;
SELECT id, country FROM click_parts ORDER BY country, id DESC LIMIT 700 OFFSET 123;
SELECT * FROM (SELECT user_id, duration_ms, id FROM clicks ORDER BY duration_ms DESC, id FETCH FIRST 50 ROWS ONLY) WHERE user_id > 2 ORDER BY 1, 3;
SELECT window_start AS w, page, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, page ORDER BY COUNT(*) DESC, w, page LIMIT 20;
SELECT page, id * 2 AS twice FROM clicks WHERE ok UNION ALL SELECT channel, id FROM bids ORDER BY page DESC, twice OFFSET 3000;
VALUES (3, 'c'), (1, 'a'), (NULL, 'n'), (2, 'b') ORDER BY EXPR$0 DESC;
CREATE TABLE o (sensor STRING, ts TIMESTAMP(6), id BIGINT) WITH ('connector' = 'filesystem', 'path' = '${out}/o', 'format' = 'json');
INSERT INTO o SELECT sensor, ts, id FROM sensors ORDER BY sensor, temperature IS NULL, ts DESC, id;
-- batch ordered
SELECT id, price, page FROM clicks ORDER BY price + 0.0 DESC NULLS LAST, id LIMIT 10
-- batch ordered
SELECT id, country FROM clicks ORDER BY country NULLS FIRST, id DESC LIMIT 700 OFFSET 123
-- batch ordered
SELECT * FROM (SELECT user_id, duration_ms, id FROM clicks ORDER BY duration_ms DESC NULLS LAST, id LIMIT 50) WHERE user_id > 2 ORDER BY 1, 3
-- batch ordered
SELECT date_bin(INTERVAL '1 minute', ts) AS w, page, count(*) AS n FROM clicks GROUP BY 1, 2 ORDER BY n DESC, w, page LIMIT 20
-- duckdb
SELECT time_bucket(INTERVAL '1 minute', ts) AS w, page, count(*) AS n FROM clicks GROUP BY 1, 2 ORDER BY n DESC, w, page LIMIT 20
-- batch ordered
SELECT page, id * 2 AS twice FROM clicks WHERE ok UNION ALL SELECT channel, id FROM bids ORDER BY page DESC, twice OFFSET 3000
-- batch ordered
SELECT * FROM (VALUES (3, 'c'), (2, 'b'), (1, 'a'), (NULL, 'n')) AS v(a, b) ORDER BY a DESC NULLS LAST
-- batch ordered o json
SELECT sensor, ts, id FROM sensors ORDER BY sensor, temperature IS NULL, ts DESC, id
