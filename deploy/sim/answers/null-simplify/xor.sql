CREATE TABLE t (a DOUBLE, i INT, b BOOLEAN, s STRING) WITH ('connector' = 'filesystem', 'path' = '${answers}/null-simplify/in.json', 'format' = 'json');
SELECT i ^ i AS x FROM t;