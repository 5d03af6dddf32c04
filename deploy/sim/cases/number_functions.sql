-- Arithmetic over negative, zero and NULL values.
-- stream
SELECT id, ABS(duration_ms) AS a, duration_ms % 7 AS b, ROUND(price, 1) AS c, FLOOR(price) AS d, CEIL(price) AS e,
  POWER(price, 2) AS f, SQRT(ABS(price)) AS g, duration_ms / 3 AS h, price / 3 AS i, -duration_ms AS j
FROM clicks;
-- batch
SELECT id, abs(duration_ms), duration_ms % 7, round(price, 1), floor(price), ceil(price),
  price * price, sqrt(abs(price)), duration_ms / 3, price / 3, -duration_ms
FROM clicks
-- duckdb rounds 75.05 down, as the double is a little less; Flink rounds what is written
