-- Quotients, remainders and averages of decimals have Flink's scales, and integers divide as integers.
-- stream
SELECT id, price / 3 AS third, price % 7 AS rest, quantity / 2 AS half, -price AS negative, 1.0 / 3 AS few FROM trades;
SELECT window_start, SUM(price) AS total, AVG(price) AS mean
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' MINUTE)) GROUP BY window_start, window_end;
-- batch
SELECT id, round(CAST(price AS DECIMAL(38, 20)) / 3, 13), CAST(CAST(price * 100 AS BIGINT) % 700 AS DECIMAL(12, 2)) / 100,
  (quantity - quantity % 2) / 2, -price, CAST('0.333333333333' AS DECIMAL(13, 12)) FROM trades
-- batch
SELECT date_bin(INTERVAL '10 minutes', ts), sum(price), round(CAST(sum(price) AS DECIMAL(38, 20)) / count(*), 6) FROM trades GROUP BY 1
