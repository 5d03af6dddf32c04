-- Keys and sums of decimals are exact; the input is Parquet.
-- stream
SELECT window_start, symbol, price, SUM(quantity) AS q, SUM(price * quantity) AS amount, MAX(price) AS top
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, symbol, price;
-- batch
SELECT date_bin(INTERVAL '1 minute', ts), symbol, price, sum(quantity), sum(price * quantity), max(price) FROM trades GROUP BY 1, 2, 3
