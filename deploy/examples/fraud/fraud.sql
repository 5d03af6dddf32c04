-- Cards that look stolen: payments from Kafka, alerts into Kafka, each once.
--
-- 'scan.bounded.mode' ends the job at what the topic holds now; a job that watches for ever leaves it out. The generator writes
-- its kinds of payments side by side, up to an hour apart; a real feed needs a watermark of some seconds.
CREATE TABLE payments (
  card INT, cents INT, shop INT, country STRING, paid_at TIMESTAMP(3),
  WATERMARK FOR paid_at AS paid_at - INTERVAL '1' HOUR
) WITH (
  'connector' = 'kafka', 'topic' = 'payments', 'properties.bootstrap.servers' = '127.0.0.1:9092',
  'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'
);

CREATE TABLE alerts (card INT, rule STRING, seen BIGINT, until TIMESTAMP(3)) WITH (
  'connector' = 'kafka', 'topic' = 'alerts', 'properties.bootstrap.servers' = '127.0.0.1:9092',
  'key.format' = 'raw', 'key.fields' = 'card', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'fraud'
);

-- Ten payments and more within five minutes.
INSERT INTO alerts
SELECT card, 'many payments', COUNT(*), window_end
FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(paid_at), INTERVAL '5' MINUTE))
GROUP BY card, window_start, window_end
HAVING COUNT(*) >= 10;

-- A small sum to try the card, and a large one.
INSERT INTO alerts
SELECT card, 'tried before use', COUNT(*), window_end
FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(paid_at), INTERVAL '1' HOUR))
GROUP BY card, window_start, window_end
HAVING MIN(cents) <= 200 AND MAX(cents) >= 100000;

-- In two countries within the hour.
INSERT INTO alerts
SELECT card, 'two countries', COUNT(DISTINCT country), window_end
FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(paid_at), INTERVAL '1' HOUR))
GROUP BY card, window_start, window_end
HAVING COUNT(DISTINCT country) >= 2;
