-- The three dearest bids of each auction and window, with their places.
-- stream
SELECT window_start, auction, place, id, price FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, auction ORDER BY price DESC, id ASC) AS place
  FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '30' SECOND)))
WHERE place <= 3;
-- batch
SELECT w, auction, place, id, price FROM (
  SELECT date_bin(INTERVAL '30 seconds', ts) AS w, auction, id, price,
    row_number() OVER (PARTITION BY date_bin(INTERVAL '30 seconds', ts), auction ORDER BY price DESC, id) AS place FROM bids) WHERE place <= 3
