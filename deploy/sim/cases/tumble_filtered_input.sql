-- Rows that a filter drops still move the watermark.
-- stream
CREATE VIEW good_germans AS SELECT ts, id FROM clicks WHERE country = 'DE' AND ok;
SELECT window_start, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE good_germans, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
-- batch
SELECT date_bin(INTERVAL '10 seconds', ts), count(*) FROM clicks WHERE country = 'DE' AND ok GROUP BY 1
