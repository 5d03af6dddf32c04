-- Windows over windows in batches of one row.
-- stream
SET 'pipeline.batch-rows' = '1';
CREATE VIEW per_user AS
  SELECT window_time AS rowtime, user_id, COUNT(*) AS n
  FROM TABLE(TUMBLE(TABLE click_parts, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, window_time, user_id;
SELECT window_start, window_end, MAX(n) AS busiest, SUM(n) AS total, COUNT(*) AS users
FROM TABLE(TUMBLE(TABLE per_user, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
-- batch
SELECT date_bin(INTERVAL '1 minute', w), date_bin(INTERVAL '1 minute', w) + INTERVAL '1 minute', max(n), sum(n), count(*)
FROM (SELECT date_bin(INTERVAL '10 seconds', ts) AS w, user_id, count(*) AS n FROM clicks GROUP BY 1, 2) GROUP BY 1, 2
