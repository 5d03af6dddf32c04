-- The dearest bid of each window.
-- stream
SELECT window_start, id, price FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY price DESC, id ASC) AS place
  FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)))
WHERE place <= 1;
-- batch
SELECT w, id, price FROM (
  SELECT date_bin(INTERVAL '10 seconds', ts) AS w, id, price,
    row_number() OVER (PARTITION BY date_bin(INTERVAL '10 seconds', ts) ORDER BY price DESC, id) AS place FROM bids) WHERE place = 1
