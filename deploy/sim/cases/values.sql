-- Rows that stand in the text: by themselves, beside a table, filtered, and named.
-- stream
SELECT 1 + 1 AS x, 'a' || 'b' AS y;
VALUES (1, 'a'), (2, NULL), (3, 'it''s');
SELECT b, a * 2 AS twice FROM (VALUES (1, 1.5), (2, -0.25), (NULL, 3)) AS v(a, b) WHERE a IS NOT NULL;
SELECT page AS c FROM clicks WHERE id < 20 UNION ALL SELECT 'none' UNION ALL VALUES ('many'), (NULL);
CREATE TABLE o (a BIGINT, b STRING) WITH ('connector' = 'filesystem', 'path' = '${out}/o', 'format' = 'json');
INSERT INTO o VALUES (1, 'one'), (2, 'two');
-- batch
SELECT 2 AS x, 'ab' AS y
-- batch
SELECT * FROM (VALUES (1, 'a'), (2, NULL), (3, 'it''s')) AS v(a, b)
-- batch
SELECT CAST(b AS DECIMAL(5, 2)) AS b, a * 2 AS twice FROM (VALUES (1, 1.5), (2, -0.25)) AS v(a, b)
-- batch
SELECT page AS c FROM clicks WHERE id < 20 UNION ALL SELECT 'none' UNION ALL SELECT 'many' UNION ALL SELECT NULL
-- batch o json
SELECT * FROM (VALUES (1, 'one'), (2, 'two')) AS v(a, b)
