-- Several sinks fed by one job, in JSON, CSV and Parquet.
-- stream
CREATE TABLE slow (id BIGINT, page STRING, duration_ms INT)
  WITH ('connector' = 'filesystem', 'path' = '${out}/slow', 'format' = 'json');
CREATE TABLE counts (window_start TIMESTAMP(3), page STRING, n BIGINT)
  WITH ('connector' = 'filesystem', 'path' = '${out}/counts', 'format' = 'csv');
CREATE TABLE prices (window_end TIMESTAMP(3), total DOUBLE)
  WITH ('connector' = 'filesystem', 'path' = '${out}/prices', 'format' = 'parquet');
INSERT INTO slow SELECT id, page, duration_ms FROM clicks WHERE duration_ms > 300;
INSERT INTO counts SELECT window_start, 'p' || page AS page, COUNT(*) AS n
  FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end, page;
INSERT INTO prices SELECT window_end, SUM(price) AS total
  FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '60' SECOND)) GROUP BY window_start, window_end;
-- batch slow json
SELECT id, page, duration_ms FROM clicks WHERE duration_ms > 300
-- batch counts csv
SELECT date_bin(INTERVAL '30 seconds', ts) AS window_start, 'p' || page AS page, count(*) AS n FROM clicks GROUP BY 1, 2
-- batch prices parquet
SELECT w + INTERVAL '60 seconds', sum(price) FROM (
  SELECT price, date_bin(INTERVAL '30 seconds', ts) - unnest([INTERVAL '0 seconds', INTERVAL '30 seconds']) AS w FROM clicks) GROUP BY 1
