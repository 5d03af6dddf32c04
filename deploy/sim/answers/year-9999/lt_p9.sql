CREATE TABLE t (ts TIMESTAMP(9), v INT) WITH ('connector' = 'filesystem', 'path' = '${answers}/year-9999/in.json', 'format' = 'json');
SELECT v FROM t WHERE EXTRACT(YEAR FROM ts) < 9999;