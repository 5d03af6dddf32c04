-- A watermark that is too quick: the answer is the batch's over the rows that were not reported late.
-- late
-- stream
SET 'late.path' = '${out}/late';
CREATE TABLE hasty (
  id BIGINT, ts TIMESTAMP(3), page STRING,
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/clicks.json', 'format' = 'json');
SET 'pipeline.batch-rows' = '16';
SELECT window_start, page, COUNT(*) AS n, MAX(id) AS newest
FROM TABLE(TUMBLE(TABLE hasty, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '5 seconds', ts), page, count(*), max(id) FROM clicks WHERE id NOT IN (SELECT id FROM late) GROUP BY 1, 2
