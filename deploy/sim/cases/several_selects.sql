-- Several answers to fetch from one job.
-- stream
SELECT id, page FROM clicks WHERE user_id = 2;
SELECT window_start, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
-- batch
SELECT id, page FROM clicks WHERE user_id = 2
-- batch
SELECT date_bin(INTERVAL '1 minute', ts), count(*) FROM bids GROUP BY 1
