-- A double column over a decimal one: the decimals become doubles, and no double loses digits.
-- stream
SELECT id, temperature / 1000000000 AS v FROM sensors
UNION ALL
SELECT id, CAST(room AS DECIMAL(10, 2)) AS v FROM sensors;
-- batch
SELECT id, temperature / 1e9 FROM sensors UNION ALL SELECT id, CAST(room AS DOUBLE) FROM sensors
