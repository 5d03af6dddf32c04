-- Payments by card within one hour. The same seed makes the same payments.
--
-- Most are ordinary: each card pays in one country. Among them are three kinds of fraud, by cards of their own:
-- 900000.. pay 20 times within a minute, 910000.. try a small sum before a large one, 920000.. are in two countries at once.
CREATE TABLE ordinary (
  id BIGINT, owner INT, cents INT, shop INT, paid_at TIMESTAMP(3),
  card AS 100000 + owner, country AS CASE owner % 4 WHEN 0 THEN 'AT' WHEN 1 THEN 'CZ' WHEN 2 THEN 'HU' ELSE 'SK' END
) WITH (
  'connector' = 'datagen', 'number-of-rows' = '100000', 'splits' = '1', 'seed' = '2026',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '99999',
  'fields.owner.min' = '0', 'fields.owner.max' = '19999',
  'fields.cents.min' = '300', 'fields.cents.max' = '20000',
  'fields.shop.min' = '1', 'fields.shop.max' = '500',
  'fields.paid_at.kind' = 'sequence', 'fields.paid_at.start' = '2026-01-01 08:00:00', 'fields.paid_at.step' = '36 ms'
);

CREATE TABLE bursts (
  id BIGINT, cents INT, shop INT, paid_at TIMESTAMP(3), card AS 900000 + CAST(id / 20 AS INT)
) WITH (
  'connector' = 'datagen', 'number-of-rows' = '1200', 'splits' = '1', 'seed' = '2027',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '1199',
  'fields.cents.min' = '300', 'fields.cents.max' = '20000',
  'fields.shop.min' = '1', 'fields.shop.max' = '500',
  'fields.paid_at.kind' = 'sequence', 'fields.paid_at.start' = '2026-01-01 08:00:00', 'fields.paid_at.step' = '3 s'
);

CREATE TABLE probes (
  id BIGINT, shop INT, paid_at TIMESTAMP(3),
  card AS 910000 + CAST(id / 2 AS INT), cents AS CASE id % 2 WHEN 0 THEN 100 ELSE 250000 END
) WITH (
  'connector' = 'datagen', 'number-of-rows' = '80', 'splits' = '1', 'seed' = '2028',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '79',
  'fields.shop.min' = '1', 'fields.shop.max' = '500',
  'fields.paid_at.kind' = 'sequence', 'fields.paid_at.start' = '2026-01-01 08:00:01', 'fields.paid_at.step' = '45 s'
);

CREATE TABLE travels (
  id BIGINT, cents INT, shop INT, paid_at TIMESTAMP(3),
  card AS 920000 + CAST(id / 2 AS INT), country AS CASE id % 2 WHEN 0 THEN 'AT' ELSE 'NZ' END
) WITH (
  'connector' = 'datagen', 'number-of-rows' = '60', 'splits' = '1', 'seed' = '2029',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '59',
  'fields.cents.min' = '300', 'fields.cents.max' = '20000',
  'fields.shop.min' = '1', 'fields.shop.max' = '500',
  'fields.paid_at.kind' = 'sequence', 'fields.paid_at.start' = '2026-01-01 08:00:02', 'fields.paid_at.step' = '60 s'
);

CREATE TABLE payments (card INT, cents INT, shop INT, country STRING, paid_at TIMESTAMP(3)) WITH (
  'connector' = 'kafka', 'topic' = 'payments', 'properties.bootstrap.servers' = '127.0.0.1:9092',
  'key.format' = 'raw', 'key.fields' = 'card', 'value.format' = 'json'
);

INSERT INTO payments
SELECT card, cents, shop, country, paid_at FROM ordinary
UNION ALL SELECT card, cents, shop, 'AT', paid_at FROM bursts
UNION ALL SELECT card, cents, shop, 'AT', paid_at FROM probes
UNION ALL SELECT card, cents, shop, country, paid_at FROM travels;
