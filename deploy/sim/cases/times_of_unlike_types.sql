-- Times beside texts that are finer than they are, dates, and times of another precision.
-- stream
SELECT id, ts > '2026-01-01 00:03:00.0004' AS a, ts <= '2026-01-01 00:03:00.0004' AS b, ts = '2026-01-01 00:03:00.0004' AS c,
  ts BETWEEN '2026-01-01' AND '9999-12-31' AS d, ts < DATE '9999-12-31' AS e, CAST(ts AS DATE) < ts AS f,
  CAST(ts AS TIMESTAMP(9)) = ts AS g, CAST(ts AS TIMESTAMP(0)) < ts AS h, ts IN ('2026-01-01 00:03:00.0004') AS i
FROM clicks;
-- batch
SELECT id, ts > TIMESTAMP '2026-01-01T00:03:00' AS a, ts <= TIMESTAMP '2026-01-01T00:03:00' AS b, false AS c,
  ts >= TIMESTAMP '2026-01-01T00:00:00' AS d, true AS e, date_trunc('day', ts) < ts AS f, true AS g,
  date_trunc('second', ts) < ts AS h, false AS i
FROM clicks
