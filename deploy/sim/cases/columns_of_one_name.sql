-- Columns of one name go by their places: to a sink, to whoever asked, and under the names of a list.
-- stream
CREATE TABLE copies (a BIGINT, b BIGINT) WITH ('connector' = 'filesystem', 'path' = '${out}/copies', 'format' = 'json');
CREATE TABLE lengths (longest INT, shortest INT) WITH ('connector' = 'filesystem', 'path' = '${out}/lengths', 'format' = 'json');
CREATE VIEW twice (one, other) AS SELECT user_id, user_id FROM clicks WHERE ok;
INSERT INTO copies SELECT id, id FROM clicks WHERE duration_ms > 300 UNION ALL SELECT one AS x, other + 1 AS x FROM twice;
INSERT INTO lengths (shortest, longest) SELECT MIN(duration_ms) AS ms, MAX(duration_ms) AS ms
  FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end;
SELECT id, id, *, page AS country, id + 1 AS id FROM (SELECT id, page, country FROM clicks) AS c;
SELECT a.id, b.id, a.window_start, b.window_start
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS a
JOIN TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS b
ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.user_id = b.bidder;
-- batch copies json
SELECT id AS a, id AS b FROM clicks WHERE duration_ms > 300 UNION ALL SELECT user_id, user_id + 1 FROM clicks WHERE ok
-- batch lengths json
SELECT max(duration_ms) AS longest, min(duration_ms) AS shortest FROM clicks GROUP BY date_bin(INTERVAL '30 seconds', ts)
-- batch
SELECT id AS a, id AS b, id AS c, page AS d, country AS e, page AS f, id + 1 AS g FROM clicks
-- batch
SELECT a.id AS a, b.id AS b, date_bin(INTERVAL '10 seconds', a.ts) AS c, date_bin(INTERVAL '10 seconds', b.ts) AS d
FROM clicks a JOIN bids b ON date_bin(INTERVAL '10 seconds', a.ts) = date_bin(INTERVAL '10 seconds', b.ts) AND a.user_id = b.bidder
