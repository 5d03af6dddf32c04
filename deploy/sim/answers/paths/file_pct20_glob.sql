CREATE TABLE t (i INT) WITH ('connector' = 'filesystem', 'path' = 'file://${answers}/paths/with%20space/*.json', 'format' = 'json');
SELECT i FROM t;