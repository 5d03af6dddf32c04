-- A window table function without an aggregate: every row, with its window.
-- stream
SELECT id, window_start, window_end, window_time FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '15' SECOND)) WHERE user_id < 10;
-- batch
SELECT id, date_bin(INTERVAL '15 seconds', ts), date_bin(INTERVAL '15 seconds', ts) + INTERVAL '15 seconds',
  date_bin(INTERVAL '15 seconds', ts) + INTERVAL '14.999 seconds'
FROM clicks WHERE user_id < 10
