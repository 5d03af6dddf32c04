-- The running maximum of a file goes on from split to split: the same records are late whether or not a file is cut.
-- (One file's late records would be missing from the other's answer.)
-- late
-- stream
SET 'late.path' = '${out}/late';
SET 'pipeline.batch-rows' = '1';
CREATE TABLE pieces (
  id BIGINT, ts TIMESTAMP(3), page STRING,
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/clicks.json', 'format' = 'json', 'source.split-size' = '2 KiB');
CREATE TABLE whole (
  id BIGINT, ts TIMESTAMP(3), page STRING,
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/clicks.json', 'format' = 'json');
SELECT window_start, page, COUNT(*) AS n, MAX(id) AS newest
FROM TABLE(TUMBLE(TABLE pieces, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, page;
SELECT window_start, page, COUNT(*) AS n, MAX(id) AS newest
FROM TABLE(TUMBLE(TABLE whole, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '5 seconds', ts), page, count(*), max(id) FROM clicks WHERE id NOT IN (SELECT id FROM late) GROUP BY 1, 2
-- batch
SELECT date_bin(INTERVAL '5 seconds', ts), page, count(*), max(id) FROM clicks WHERE id NOT IN (SELECT id FROM late) GROUP BY 1, 2
