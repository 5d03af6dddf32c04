-- No row passes, and the job ends all the same.
-- stream
SELECT id, page FROM clicks WHERE duration_ms > 1000000;
-- batch
SELECT id, page FROM clicks WHERE duration_ms > 1000000
