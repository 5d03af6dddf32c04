CREATE TABLE t (i INT) WITH ('connector' = 'filesystem', 'path' = '${answers}/paths/days/2024-02/*', 'format' = 'json');
SELECT i FROM t;