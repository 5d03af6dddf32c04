-- A row is repeated for each of its windows.
-- stream
SELECT id, window_start, window_end FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '30' SECOND)) WHERE user_id = 1;
-- batch
SELECT id, w, w + INTERVAL '30 seconds' FROM (
  SELECT id, date_bin(INTERVAL '10 seconds', ts) - unnest([INTERVAL '0 seconds', INTERVAL '10 seconds', INTERVAL '20 seconds']) AS w FROM clicks WHERE user_id = 1)
