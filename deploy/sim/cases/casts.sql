-- Between numbers, text, dates and decimals.
-- stream
SELECT id, CAST(duration_ms AS BIGINT) AS a, CAST(id AS STRING) AS b, CAST(duration_ms AS DOUBLE) AS c, CAST(ts AS DATE) AS d,
  CAST(ok AS INT) AS e, TRY_CAST(page AS INT) AS f, CAST(duration_ms AS DECIMAL(10, 2)) AS g
FROM clicks;
-- batch
SELECT id, CAST(duration_ms AS BIGINT), CAST(id AS VARCHAR), CAST(duration_ms AS DOUBLE), CAST(ts AS DATE),
  CAST(ok AS INT), CAST(NULL AS INT), CAST(duration_ms AS DECIMAL(10, 2))
FROM clicks
