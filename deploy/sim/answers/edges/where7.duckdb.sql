WITH t AS (SELECT * FROM read_json('${answers}/edges/in.json', format = 'newline_delimited', columns = {id: 'INTEGER', ts: 'TIMESTAMP', b: 'BOOLEAN', y: 'TINYINT', i: 'INTEGER', l: 'BIGINT', f: 'FLOAT', d: 'DOUBLE', n: 'DECIMAL(10,2)', m: 'DECIMAL(38,10)', s: 'VARCHAR', u: 'VARCHAR', dt: 'DATE', t3: 'TIMESTAMP', t6: 'TIMESTAMP', r: 'STRUCT(a INTEGER, b VARCHAR)'}))
SELECT 0 AS q, id FROM t WHERE n = 1e0
UNION ALL SELECT 1 AS q, id FROM t WHERE n > 1.0e0
UNION ALL SELECT 2 AS q, id FROM t WHERE m = 1
UNION ALL SELECT 3 AS q, id FROM t WHERE n = CAST(2.5 AS DOUBLE)
UNION ALL SELECT 4 AS q, id FROM t WHERE n <> d
UNION ALL SELECT 5 AS q, id FROM t WHERE s = ''
UNION ALL SELECT 6 AS q, id FROM t WHERE s <> ''
UNION ALL SELECT 7 AS q, id FROM t WHERE s IS NULL
UNION ALL SELECT 8 AS q, id FROM t WHERE s > 'a'
UNION ALL SELECT 9 AS q, id FROM t WHERE s < 'a'
UNION ALL SELECT 10 AS q, id FROM t WHERE s >= '7' AND s < '9'
UNION ALL SELECT 11 AS q, id FROM t WHERE s IN ('a','A','')
