-- A watermark that is any expression over the row.
-- stream
CREATE TABLE expressed (
  id BIGINT, ts TIMESTAMP(3), page STRING, user_id BIGINT,
  WATERMARK FOR ts AS CASE WHEN user_id % 2 = 0 THEN DATE_TRUNC('second', ts) - INTERVAL '5' SECOND ELSE ts - INTERVAL '1' MINUTE END
) WITH ('connector' = 'filesystem', 'path' = '${data}/clicks.json', 'format' = 'json');
SELECT window_start, page, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE expressed, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '10 seconds', ts), page, count(*) FROM clicks GROUP BY 1, 2
