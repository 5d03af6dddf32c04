CREATE TABLE t (v STRING) WITH ('connector' = 'filesystem', 'path' = '${answers}/parquet-evolution/prim_fixbin.parquet', 'format' = 'parquet');
SELECT v FROM t;