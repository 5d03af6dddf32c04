-- Times beside texts that are finer than they are, dates, and times of another precision.
-- stream
SELECT id, ts > '2026-01-01 00:03:00.0004' AS a, ts <= '2026-01-01 00:03:00.0004' AS b, ts = '2026-01-01 00:03:00.0004' AS c,
  ts BETWEEN '2026-01-01' AND '9999-12-31' AS d, ts < DATE '9999-12-31' AS e, CAST(ts AS DATE) < ts AS f,
  CAST(ts AS TIMESTAMP(9)) = ts AS g, CAST(ts AS TIMESTAMP(0)) < ts AS h, ts IN ('2026-01-01 00:03:00.0004') AS i
FROM clicks;
-- batch
SELECT id, ts > TIMESTAMP '2026-01-01T00:03:00', ts <= TIMESTAMP '2026-01-01T00:03:00', false, true, true, date_trunc('day', ts) < ts,
  true, date_trunc('second', ts) < ts, false
FROM clicks
