-- Aggregates that keep an order: lists and texts, in the order that they say, whatever order records came in.
-- stream
SELECT window_start, user_id, STRING_AGG(page, '|' ORDER BY ts DESC, id) AS pages,
  array_to_string(ARRAY_AGG(id ORDER BY duration_ms ASC NULLS FIRST, id DESC), ',') AS ids
FROM TABLE(TUMBLE(TABLE click_parts, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, user_id;
-- batch
SELECT date_bin(INTERVAL '1 minute', ts), user_id, string_agg(page, '|' ORDER BY ts DESC, id),
  array_to_string(array_agg(id ORDER BY duration_ms ASC NULLS FIRST, id DESC), ',') FROM clicks GROUP BY 1, 2
