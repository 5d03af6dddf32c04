-- A WITH clause whose second query reads the first.
-- stream
WITH slow AS (SELECT id, user_id, duration_ms FROM clicks WHERE duration_ms > 200),
     slow_even AS (SELECT id, user_id, duration_ms * 2 AS twice FROM slow WHERE user_id % 2 = 0)
SELECT user_id, twice, id FROM slow_even WHERE twice < 900;
-- batch
SELECT user_id, duration_ms * 2, id FROM clicks WHERE duration_ms > 200 AND user_id % 2 = 0 AND duration_ms * 2 < 900
