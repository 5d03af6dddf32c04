CREATE TABLE t (i INT, ts TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '${answers}/parquet-int96/x.parquet', 'format' = 'parquet');
SELECT i, ts FROM t;