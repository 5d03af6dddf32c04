-- IS [NOT] DISTINCT FROM beside AND and OR, and on NULLs.
-- stream
SELECT id FROM clicks WHERE country IS DISTINCT FROM 'DE' AND id < 500 OR price IS NOT DISTINCT FROM NULL AND id > 900;
-- batch
SELECT id FROM clicks WHERE ((country IS DISTINCT FROM 'DE') AND id < 500) OR (price IS NULL AND id > 900)
