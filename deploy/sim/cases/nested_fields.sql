-- Fields of a ROW column, whole rows of which may be NULL.
-- stream
SELECT id, device.os AS os, device.version + 1 AS next_version FROM clicks WHERE device.version >= 3 OR device.os IS NULL;
-- batch
SELECT id, device['os'], device['version'] + 1 FROM clicks WHERE device['version'] >= 3 OR device['os'] IS NULL
