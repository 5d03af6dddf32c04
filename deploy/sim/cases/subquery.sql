-- A derived table inside a derived table.
-- stream
SELECT o.id, o.s FROM (SELECT i.id, i.a + i.b AS s FROM (SELECT id, duration_ms AS a, user_id AS b FROM clicks) AS i) AS o WHERE o.s > 50;
-- batch
SELECT id, duration_ms + user_id FROM clicks WHERE duration_ms + user_id > 50
