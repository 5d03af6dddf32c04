-- NaN is one value and the greatest, and zero has no sign: in keys, in ARRAYs too, in DISTINCT and in extremes.
-- stream
CREATE VIEW marked AS
  SELECT id, ts, CASE id % 5 WHEN 0 THEN CAST('NaN' AS DOUBLE) WHEN 1 THEN -0e0 WHEN 2 THEN 0e0 WHEN 3 THEN 1.5e0 END AS d FROM clicks;
SELECT window_start, COUNT(*) AS n, MIN(id) AS first_id
FROM TABLE(TUMBLE(TABLE marked, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) GROUP BY window_start, window_end, d;
SELECT window_start, COUNT(*) AS n, MIN(id) AS first_id
FROM TABLE(TUMBLE(TABLE marked, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) GROUP BY window_start, window_end, ARRAY[d, 1e0];
SELECT window_start, COUNT(DISTINCT d) AS n, CAST(MIN(d) AS INT) AS lo, COUNT(*) AS rows_of
FROM TABLE(TUMBLE(TABLE marked, DESCRIPTOR(ts), INTERVAL '20' MINUTE)) GROUP BY window_start, window_end;
-- batch
SELECT date_bin(INTERVAL '2 minutes', ts), count(*), min(id) FROM clicks GROUP BY 1, CASE id % 5 WHEN 1 THEN 2 ELSE id % 5 END
-- batch
SELECT date_bin(INTERVAL '2 minutes', ts), count(*), min(id) FROM clicks GROUP BY 1, CASE id % 5 WHEN 1 THEN 2 ELSE id % 5 END
-- batch
SELECT date_bin(INTERVAL '20 minutes', ts), count(DISTINCT CASE id % 5 WHEN 4 THEN NULL WHEN 1 THEN 2 ELSE id % 5 END),
  min(CASE id % 5 WHEN 1 THEN 0 WHEN 2 THEN 0 WHEN 3 THEN 1 END), count(*) FROM clicks GROUP BY 1
