-- What the shop's site does: it puts each click into the stream, with the visitor as its key. A day is put in seconds here, so one
-- request at a time keeps each shard about in the order of time. A site puts a click when it happens, and the watermark's five minutes
-- are far more than it needs.
SET 'parallelism.default' = '1';

CREATE TABLE made (
  visitor STRING, kind STRING, product STRING, category STRING, cents BIGINT, clicked_at TIMESTAMP(3)
) WITH ('connector' = 'filesystem', 'path' = 'clicks.json', 'format' = 'json');

CREATE TABLE clicks (
  visitor STRING, kind STRING, product STRING, category STRING, cents BIGINT, clicked_at TIMESTAMP(3)
) PARTITIONED BY (visitor) WITH (
  'connector' = 'kinesis', 'stream' = 'clicks', 'aws.region' = 'us-east-1', 'aws.endpoint' = 'http://127.0.0.1:4567',
  'format' = 'json', 'sink.requests.max-inflight' = '1'
);

INSERT INTO clicks SELECT * FROM made;
