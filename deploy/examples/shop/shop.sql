-- Clicks of a shop from Kinesis: visits, conversion and recommendations, into S3 by hour, and for the site to ask.
CREATE TABLE clicks (
  visitor STRING, kind STRING, product STRING, category STRING, cents BIGINT, clicked_at TIMESTAMP(3),
  WATERMARK FOR clicked_at AS clicked_at - INTERVAL '5' MINUTE
) WITH (
  'connector' = 'kinesis', 'stream' = 'clicks', 'aws.region' = 'us-east-1', 'aws.endpoint' = 'http://127.0.0.1:4567',
  'format' = 'json', 'source.init.position' = 'TRIM_HORIZON'
);

-- A visit ends when nothing has been clicked for half an hour.
CREATE TABLE visits (
  visitor STRING, began TIMESTAMP(3), ended TIMESTAMP(3), clicks BIGINT, products BIGINT, bought BIGINT, cents BIGINT,
  day AS DATE_FORMAT(ended, 'yyyy-MM-dd'), hour AS DATE_FORMAT(ended, 'HH')
) PARTITIONED BY (day, hour) WITH (
  'connector' = 'filesystem', 'path' = 's3://shop/visits', 'format' = 'parquet', 'auto-compaction' = 'true',
  'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.trigger' = 'partition-time',
  'sink.partition-commit.delay' = '1 h', 'partition.time-extractor.timestamp-pattern' = '$day $hour:00:00'
);

CREATE TABLE conversion (
  began TIMESTAMP(3), category STRING, visitors BIGINT, buyers BIGINT, cents BIGINT,
  day AS DATE_FORMAT(began, 'yyyy-MM-dd'), hour AS DATE_FORMAT(began, 'HH')
) PARTITIONED BY (day, hour) WITH (
  'connector' = 'filesystem', 'path' = 's3://shop/conversion', 'format' = 'parquet', 'auto-compaction' = 'true',
  'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.trigger' = 'partition-time',
  'sink.partition-commit.delay' = '1 h', 'partition.time-extractor.timestamp-pattern' = '$day $hour:00:00'
);

-- The site asks it: GET /tables/recommendations?category=Nokia&product=Nokia%206
CREATE TABLE recommendations (
  category STRING, product STRING, others ARRAY<STRING>, seen BIGINT, bought BIGINT, until TIMESTAMP(3),
  PRIMARY KEY (category, product) NOT ENFORCED
) WITH ('connector' = 'queryable', 'ttl' = '1 day');

CREATE TABLE recommended (
  category STRING, product STRING, others ARRAY<STRING>, seen BIGINT, bought BIGINT, until TIMESTAMP(3),
  day AS DATE_FORMAT(until - INTERVAL '1' SECOND, 'yyyy-MM-dd'), hour AS DATE_FORMAT(until - INTERVAL '1' SECOND, 'HH')
) PARTITIONED BY (day, hour) WITH (
  'connector' = 'filesystem', 'path' = 's3://shop/recommended', 'format' = 'parquet', 'auto-compaction' = 'true',
  'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.trigger' = 'partition-time',
  'sink.partition-commit.delay' = '1 h', 'partition.time-extractor.timestamp-pattern' = '$day $hour:00:00'
);

-- Products that the same visitors have seen, or bought, within the last hour.
CREATE TEMPORARY VIEW pairs AS
SELECT
  a.window_start, a.window_end, a.category, a.product, b.product AS other,
  COUNT(DISTINCT a.visitor) FILTER (WHERE a.kind = 'see') AS seen,
  COUNT(DISTINCT a.visitor) FILTER (WHERE a.kind = 'buy') AS bought
FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(clicked_at), INTERVAL '10' MINUTE, INTERVAL '1' HOUR)) AS a
JOIN TABLE(HOP(TABLE clicks, DESCRIPTOR(clicked_at), INTERVAL '10' MINUTE, INTERVAL '1' HOUR)) AS b
  ON a.window_start = b.window_start AND a.window_end = b.window_end
  AND a.visitor = b.visitor AND a.kind = b.kind AND a.category = b.category AND a.product <> b.product
GROUP BY a.window_start, a.window_end, a.category, a.product, b.product;

-- The three best of each product: what was bought together counts as much as three times seen together.
CREATE TEMPORARY VIEW best AS
SELECT category, product, ARRAY_AGG(other ORDER BY place) AS others, SUM(seen) AS seen, SUM(bought) AS bought, window_end AS until
FROM (
  SELECT *, ROW_NUMBER() OVER (
    PARTITION BY window_start, window_end, category, product ORDER BY 3 * bought + seen DESC, other
  ) AS place
  FROM pairs)
WHERE place <= 3
GROUP BY window_start, window_end, category, product;

BEGIN STATEMENT SET;

INSERT INTO visits
SELECT
  visitor, window_start, window_end, COUNT(*), COUNT(DISTINCT product),
  COUNT(*) FILTER (WHERE kind = 'buy'), SUM(CASE kind WHEN 'buy' THEN cents ELSE 0 END)
FROM TABLE(SESSION(TABLE clicks PARTITION BY visitor, DESCRIPTOR(clicked_at), INTERVAL '30' MINUTE))
GROUP BY visitor, window_start, window_end;

INSERT INTO conversion
SELECT
  window_start, category, COUNT(DISTINCT visitor), COUNT(DISTINCT visitor) FILTER (WHERE kind = 'buy'),
  SUM(CASE kind WHEN 'buy' THEN cents ELSE 0 END)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(clicked_at), INTERVAL '1' HOUR))
GROUP BY category, window_start, window_end;

INSERT INTO recommendations SELECT * FROM best;
INSERT INTO recommended SELECT * FROM best;

END;
