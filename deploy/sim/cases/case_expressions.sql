-- Both forms of CASE, with and without ELSE.
-- stream
SELECT id,
  CASE WHEN duration_ms < 0 THEN 'negative' WHEN duration_ms < 100 THEN 'short' WHEN duration_ms IS NULL THEN 'none' ELSE 'long' END AS a,
  CASE country WHEN 'DE' THEN 1 WHEN 'FR' THEN 2 END AS b
FROM clicks;
-- batch
SELECT id,
  CASE WHEN duration_ms < 0 THEN 'negative' WHEN duration_ms < 100 THEN 'short' WHEN duration_ms IS NULL THEN 'none' ELSE 'long' END,
  CASE country WHEN 'DE' THEN 1 WHEN 'FR' THEN 2 END
FROM clicks
