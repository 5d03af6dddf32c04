-- Variances, deviations and correlation; of one value, the sample's are NULL.
-- stream
SELECT window_start, page, VAR_POP(price) AS a, VAR_SAMP(price) AS b, STDDEV_POP(duration_ms) AS c, STDDEV_SAMP(duration_ms) AS d,
  CORR(price, duration_ms) AS e
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end, page;
-- batch
SELECT date_bin(INTERVAL '30 seconds', ts), page, var_pop(price), var_samp(price), stddev_pop(duration_ms), stddev_samp(duration_ms),
  corr(price, duration_ms)
FROM clicks GROUP BY 1, 2
-- duckdb gives NULL for a correlation without spread, where NaN is what the formula gives
