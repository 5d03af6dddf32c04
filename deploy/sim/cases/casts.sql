-- Between numbers, text, dates and decimals.
-- stream
SELECT id, CAST(duration_ms AS BIGINT) AS a, CAST(id AS STRING) AS b, CAST(duration_ms AS DOUBLE) AS c, CAST(ts AS DATE) AS d,
  CAST(ok AS INT) AS e, TRY_CAST(page AS INT) AS f, CAST(duration_ms AS DECIMAL(10, 2)) AS g
FROM clicks;
-- batch
SELECT id, CAST(duration_ms AS BIGINT) AS a, CAST(id AS VARCHAR) AS b, CAST(duration_ms AS DOUBLE) AS c, CAST(ts AS DATE) AS d,
  CAST(ok AS INT) AS e, CAST(NULL AS INT) AS f, CAST(duration_ms AS DECIMAL(10, 2)) AS g
FROM clicks
