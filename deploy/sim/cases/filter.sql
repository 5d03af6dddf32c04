-- A conjunction passes a row only where all of it is true: NULL is not.
-- stream
SELECT id, page, duration_ms FROM clicks WHERE duration_ms > 100 AND country = 'DE';
-- batch
SELECT id, page, duration_ms FROM clicks WHERE duration_ms > 100 AND country = 'DE'
