-- Lateness is a verdict on a record and one of its windows: the others still count it.
-- late
-- stream
SET 'late.path' = '${out}/late';
SET 'pipeline.batch-rows' = '16';
CREATE TABLE hasty (
  id BIGINT, ts TIMESTAMP(3), page STRING,
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/clicks.json', 'format' = 'json');
SELECT window_start, page, COUNT(*) AS n, MAX(id) AS newest
FROM TABLE(HOP(TABLE hasty, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '4' SECOND)) GROUP BY window_start, window_end, page;
-- batch
SELECT c.w, c.page, count(*), max(c.id) FROM (
  SELECT id, page, date_bin(INTERVAL '2 seconds', ts) - unnest([INTERVAL '0 seconds', INTERVAL '2 seconds']) AS w FROM clicks) c
LEFT ANTI JOIN late ON late.id = c.id AND late.window_start = c.w GROUP BY 1, 2
