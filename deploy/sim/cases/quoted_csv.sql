-- Fields with separators, quotes and nothing in them.
-- stream
SELECT id, sensor, room, temperature, note FROM sensors;
-- batch
SELECT id, sensor, room, temperature, note FROM sensors
