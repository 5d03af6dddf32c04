-- How many bids each auction has had, every ten seconds.
CREATE TABLE sink (auction BIGINT, num BIGINT, starttime TIMESTAMP(3)) WITH ('connector' = 'blackhole');
INSERT INTO sink
SELECT auction, COUNT(*) AS num, window_start
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end;
