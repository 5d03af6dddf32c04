-- A Parquet file of which each row group is a split.
-- stream
CREATE TABLE pieces (
  id BIGINT, ts TIMESTAMP(3), symbol STRING, side STRING, quantity INT, price DECIMAL(12, 2),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/trades.parquet', 'format' = 'parquet', 'source.split-size' = '1 KiB');
SELECT window_start, symbol, COUNT(*) AS n, SUM(price * quantity) AS amount, MIN(id) AS first_id
FROM TABLE(HOP(TABLE pieces, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '4' SECOND)) GROUP BY window_start, window_end, symbol;
-- batch
SELECT w, symbol, count(*), sum(price * quantity), min(id) FROM (
  SELECT *, date_bin(INTERVAL '2 seconds', ts) - unnest([INTERVAL '0 seconds', INTERVAL '2 seconds']) AS w FROM trades) GROUP BY 1, 2
