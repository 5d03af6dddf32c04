-- A view over a view.
-- stream
CREATE VIEW germans AS SELECT id, ts, page, price FROM clicks WHERE country = 'DE';
CREATE VIEW paying_germans AS SELECT id, page, price * 1.5 AS gross FROM germans WHERE price > 10;
SELECT id, page, gross FROM paying_germans;
-- batch
SELECT id, page, price * 1.5 FROM clicks WHERE country = 'DE' AND price > 10
