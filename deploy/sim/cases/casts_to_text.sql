-- Texts of booleans, dates and times are those of Flink; lengths cut.
-- stream
SELECT id, CAST(ok AS STRING) AS a, CAST(ts AS STRING) AS b, CAST(CAST(ts AS DATE) AS STRING) AS c, CAST(page AS VARCHAR(3)) AS d,
  CAST(CAST(ts AS TIMESTAMP(0)) AS STRING) AS e, CAST(id AS CHAR(8)) AS f, CAST(CAST(duration_ms AS DECIMAL(10, 2)) AS STRING) AS g
FROM clicks;
-- batch
SELECT id, upper(CAST(ok AS VARCHAR)), to_char(ts, '%Y-%m-%d %H:%M:%S%.3f'), to_char(ts, '%Y-%m-%d'), left(page, 3),
  to_char(ts, '%Y-%m-%d %H:%M:%S'), rpad(CAST(id AS VARCHAR), 8), CAST(CAST(duration_ms AS DECIMAL(10, 2)) AS VARCHAR)
FROM clicks
-- duckdb
SELECT id, upper(CAST(ok AS VARCHAR)), strftime(ts, '%Y-%m-%d %H:%M:%S.%g'), strftime(ts, '%Y-%m-%d'), left(page, 3),
  strftime(ts, '%Y-%m-%d %H:%M:%S'), rpad(CAST(id AS VARCHAR), 8, ' '), CAST(CAST(duration_ms AS DECIMAL(10, 2)) AS VARCHAR)
FROM clicks
