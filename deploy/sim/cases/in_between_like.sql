-- The shorter comparisons and their negations.
-- stream
SELECT id, country IN ('DE', 'FR') AS a, page LIKE '/p%' AS b FROM clicks
WHERE (user_id BETWEEN 3 AND 12 OR page NOT LIKE '%e') AND country NOT IN ('US');
-- batch
SELECT id, country IN ('DE', 'FR'), page LIKE '/p%' FROM clicks
WHERE ((user_id >= 3 AND user_id <= 12) OR page NOT LIKE '%e') AND country <> 'US'
