-- More slides than a slide has microseconds: pre-aggregation was asked for and is left out.
-- stream
SET 'optimizer.two-phase' = 'always';
SELECT user_id, window_start, COUNT(*) AS n
FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '0.001' SECOND, INTERVAL '1.001' SECOND))
WHERE id < 40 GROUP BY user_id, window_start, window_end;
-- batch
SELECT user_id, w, count(*) FROM (
  SELECT user_id, ts - arrow_cast(unnest(range(0, 1001)), 'Duration(Millisecond)') AS w FROM clicks WHERE id < 40) GROUP BY 1, 2
-- duckdb
SELECT user_id, w, count(*) FROM (SELECT user_id, ts - to_milliseconds(unnest(range(0, 1001))) AS w FROM clicks WHERE id < 40) GROUP BY 1, 2
