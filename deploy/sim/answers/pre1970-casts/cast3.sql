CREATE TABLE t (i INT, ts TIMESTAMP(6)) WITH ('connector' = 'filesystem', 'path' = '${answers}/pre1970-casts/in.json', 'format' = 'json');
SELECT i, CAST(ts AS TIMESTAMP(3)) c FROM t;