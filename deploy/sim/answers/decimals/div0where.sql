CREATE TABLE t (i INT, s STRING, d DECIMAL(10,4)) WITH ('connector' = 'filesystem', 'path' = '${answers}/decimals/c.json', 'format' = 'json');
SELECT i FROM t WHERE i <> 1 AND 10 / (i - 1) > 5;