-- Event time and a key that are computed from physical columns.
-- stream
CREATE TABLE epoch_clicks (
  id BIGINT, epoch_ms BIGINT, page STRING,
  at AS TO_TIMESTAMP_MILLIS(epoch_ms),
  area AS UPPER(page),
  WATERMARK FOR at AS at - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/epoch.json', 'format' = 'json');
SELECT window_start, area, COUNT(*) AS n, MIN(epoch_ms) AS e
FROM TABLE(TUMBLE(TABLE epoch_clicks, DESCRIPTOR(at), INTERVAL '20' SECOND)) GROUP BY window_start, window_end, area;
-- batch
SELECT date_bin(INTERVAL '20 seconds', ts), upper(page), count(*), min(CAST(ts AS BIGINT)) FROM clicks GROUP BY 1, 2
