-- A file of lines cut into many splits, dealt to the readers: the splits of a file are one sequence, so nothing is late.
-- stream
CREATE TABLE pieces (
  id BIGINT, ts TIMESTAMP(3), user_id BIGINT, page STRING, duration_ms INT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/clicks.json', 'format' = 'json', 'source.split-size' = '8 KiB');
SELECT window_start, page, COUNT(*) AS n, SUM(duration_ms) AS s, MIN(id) AS first_id
FROM TABLE(TUMBLE(TABLE pieces, DESCRIPTOR(ts), INTERVAL '2' SECOND)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '2 seconds', ts), page, count(*), sum(duration_ms), min(id) FROM clicks GROUP BY 1, 2
