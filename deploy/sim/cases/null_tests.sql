-- IS NULL, COALESCE, NULLIF and three-valued logic.
-- stream
SELECT id, COALESCE(country, 'unknown') AS country, NULLIF(page, '/home') AS elsewhere, price IS NOT NULL AS priced
FROM clicks WHERE country IS NULL OR NOT (price > 50);
-- batch
SELECT id, COALESCE(country, 'unknown'), NULLIF(page, '/home'), price IS NOT NULL
FROM clicks WHERE country IS NULL OR NOT (price > 50)
