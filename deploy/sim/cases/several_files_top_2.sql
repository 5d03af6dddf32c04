-- The first rows of each window and key, from several files; all ties are broken.
-- stream
SELECT window_start, page, id, duration_ms, place FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, page ORDER BY duration_ms DESC NULLS LAST, id) AS place
  FROM TABLE(TUMBLE(TABLE click_parts, DESCRIPTOR(ts), INTERVAL '10' SECOND)))
WHERE place <= 2;
-- batch
SELECT w, page, id, duration_ms, place FROM (
  SELECT date_bin(INTERVAL '10 seconds', ts) AS w, page, id, duration_ms,
    row_number() OVER (PARTITION BY date_bin(INTERVAL '10 seconds', ts), page ORDER BY duration_ms DESC NULLS LAST, id) AS place FROM clicks) WHERE place <= 2
