-- CSV with a header in many splits: the header is read once, the last split begins anywhere.
-- stream
CREATE TABLE pieces (
  id BIGINT, ts TIMESTAMP(6), sensor STRING, room INT, temperature DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/sensors.csv', 'format' = 'csv', 'source.split-size' = '8 KiB', 'csv.header' = 'true');
SELECT window_start, sensor, COUNT(*) AS n, MAX(temperature) AS top, MAX(id) AS last_id
FROM TABLE(TUMBLE(TABLE pieces, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, sensor;
-- batch
SELECT date_bin(INTERVAL '5 seconds', ts), sensor, count(*), max(temperature), max(id) FROM sensors GROUP BY 1, 2
