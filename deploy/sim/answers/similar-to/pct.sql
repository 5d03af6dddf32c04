CREATE TABLE t (i INT, s STRING) WITH ('connector' = 'filesystem', 'path' = '${answers}/similar-to/in.json', 'format' = 'json');
SELECT i FROM t WHERE s SIMILAR TO 'a%';