-- Joins of files in splits of different sizes.
-- stream
CREATE TABLE many (
  id BIGINT, ts TIMESTAMP(3), user_id BIGINT, page STRING, duration_ms INT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/clicks.json', 'format' = 'json', 'source.split-size' = '8 KiB');
CREATE TABLE few (
  id BIGINT, ts TIMESTAMP(3), auction BIGINT, bidder BIGINT, price BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/bids.json', 'format' = 'json', 'source.split-size' = '50 KiB');
SELECT c.id AS click, b.id AS bid, c.window_start
FROM (SELECT * FROM TABLE(TUMBLE(TABLE many, DESCRIPTOR(ts), INTERVAL '5' SECOND))) AS c
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE few, DESCRIPTOR(ts), INTERVAL '5' SECOND))) AS b
ON c.window_start = b.window_start AND c.window_end = b.window_end AND c.user_id = b.bidder;
-- batch
SELECT c.id, b.id, date_bin(INTERVAL '5 seconds', c.ts) FROM clicks c JOIN bids b
ON date_bin(INTERVAL '5 seconds', c.ts) = date_bin(INTERVAL '5 seconds', b.ts) AND c.user_id = b.bidder
