-- Where NULLs go in an order; minus zero ties with zero.
-- stream
SELECT window_start, page, id, price FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, page ORDER BY price ASC NULLS FIRST, id DESC) AS place
  FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND)))
WHERE place <= 2;
-- batch
SELECT w, page, id, price FROM (
  SELECT date_bin(INTERVAL '30 seconds', ts) AS w, page, id, price + 0.0 AS price,
    row_number() OVER (PARTITION BY date_bin(INTERVAL '30 seconds', ts), page ORDER BY price + 0.0 ASC NULLS FIRST, id DESC) AS place FROM clicks) WHERE place <= 2
