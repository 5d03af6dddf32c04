-- A join of windows over windows: the rows of both sides are of the same older window too.
-- stream
CREATE VIEW per_user AS
  SELECT window_start AS ws0, window_end AS we0, window_time AS rowtime, user_id, COUNT(*) AS n
  FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, window_time, user_id;
CREATE VIEW per_minute AS SELECT * FROM TABLE(TUMBLE(TABLE per_user, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE));
SELECT x.ws0, x.user_id, x.n, y.n AS again
FROM per_minute AS x JOIN per_minute AS y
ON x.user_id = y.user_id AND x.window_start = y.window_start AND x.window_end = y.window_end AND x.ws0 = y.ws0 AND x.we0 = y.we0;
-- batch
SELECT date_bin(INTERVAL '10 seconds', ts) AS w, user_id, count(*) AS n, count(*) AS again FROM clicks GROUP BY 1, 2
