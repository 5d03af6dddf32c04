-- Columns of a file without names are found by their places, also when the query uses only some of them.
-- stream
CREATE TABLE plain (id BIGINT, ts TIMESTAMP(6), sensor STRING, room INT, temperature DOUBLE, note STRING)
  WITH ('connector' = 'filesystem', 'path' = '${data}/sensors-plain.txt', 'format' = 'csv');
SELECT temperature, sensor FROM plain WHERE room > 2;
-- batch
SELECT temperature, sensor FROM sensors WHERE room > 2
