CREATE TABLE t (ts TIMESTAMP(3), u TIMESTAMP(9)) WITH ('connector' = 'filesystem', 'path' = '${answers}/parquet-int96/cmp.json', 'format' = 'json');
SELECT ts > u x, ts = u y FROM t;