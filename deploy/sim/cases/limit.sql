-- So many rows, whichever come first: alike ones, so that it does not matter which.
-- stream
SELECT 1 AS one FROM click_parts LIMIT 120;
SELECT 'x' AS x FROM clicks WHERE id >= 1000 OFFSET 990;
SELECT 2 AS two FROM clicks UNION ALL SELECT 2 FROM bids LIMIT 3000 OFFSET 1500;
SELECT id FROM (SELECT * FROM trades LIMIT 100000) WHERE id < 20;
-- batch
SELECT 1 AS one FROM clicks LIMIT 120
-- batch
SELECT 'x' AS x FROM clicks WHERE id >= 1000 LIMIT 10
-- batch
SELECT 2 AS two FROM clicks UNION ALL SELECT 2 FROM bids LIMIT 2500
-- batch
SELECT id FROM trades WHERE id < 20
