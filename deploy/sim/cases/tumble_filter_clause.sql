-- Aggregates that see only some of the rows.
-- stream
SELECT window_start, page, COUNT(*) FILTER (WHERE ok) AS good, SUM(duration_ms) FILTER (WHERE country = 'DE') AS german,
  AVG(price) FILTER (WHERE price > 20) AS dear, COUNT(*) FILTER (WHERE duration_ms > 1000000) AS never
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '30 seconds', ts), page, sum(CASE WHEN ok THEN 1 ELSE 0 END), sum(CASE WHEN country = 'DE' THEN duration_ms END),
  avg(CASE WHEN price > 20 THEN price END), 0
FROM clicks GROUP BY 1, 2
