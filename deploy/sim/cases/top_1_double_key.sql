-- The first row per double: minus zero and zero are one key, NULL is a key of its own.
-- stream
SELECT window_start, price, id FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, price ORDER BY id) AS place
  FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '2' MINUTE)))
WHERE place <= 1;
-- batch
SELECT w, price, id FROM (
  SELECT date_bin(INTERVAL '2 minutes', ts) AS w, price + 0.0 AS price, id,
    row_number() OVER (PARTITION BY date_bin(INTERVAL '2 minutes', ts), price + 0.0 ORDER BY id) AS place FROM clicks) WHERE place <= 1
