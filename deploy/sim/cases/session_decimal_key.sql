-- Sessions per decimal.
-- stream
SELECT window_start, window_end, price, COUNT(*) AS n, SUM(quantity) AS q
FROM TABLE(SESSION(TABLE trades PARTITION BY price, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end, price;
-- batch
WITH marked AS (
  SELECT *, CASE WHEN CAST(ts AS BIGINT) - lag(CAST(ts AS BIGINT)) OVER (PARTITION BY price ORDER BY ts, id) <= 30000 THEN 0 ELSE 1 END AS first FROM trades),
numbered AS (SELECT *, sum(first) OVER (PARTITION BY price ORDER BY ts, id ROWS UNBOUNDED PRECEDING) AS session FROM marked)
SELECT min(ts), max(ts) + INTERVAL '30 seconds', price, count(*), sum(quantity) FROM numbered GROUP BY price, session
