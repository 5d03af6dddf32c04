WITH t AS (SELECT * FROM read_json('${answers}/edges/in.json', format = 'newline_delimited', columns = {id: 'INTEGER', ts: 'TIMESTAMP', b: 'BOOLEAN', y: 'TINYINT', i: 'INTEGER', l: 'BIGINT', f: 'FLOAT', d: 'DOUBLE', n: 'DECIMAL(10,2)', m: 'DECIMAL(38,10)', s: 'VARCHAR', u: 'VARCHAR', dt: 'DATE', t3: 'TIMESTAMP', t6: 'TIMESTAMP', r: 'STRUCT(a INTEGER, b VARCHAR)'}))
SELECT 0 AS q, id, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY date_trunc('minute', ts) ORDER BY t6 NULLS FIRST, id) AS rn FROM t) WHERE rn <= 3
UNION ALL SELECT 1 AS q, id, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY date_trunc('minute', ts) ORDER BY b NULLS FIRST, id) AS rn FROM t) WHERE rn <= 3
UNION ALL SELECT 2 AS q, id, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY date_trunc('minute', ts) ORDER BY f DESC NULLS LAST, id) AS rn FROM t) WHERE rn <= 3
UNION ALL SELECT 3 AS q, id, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY date_trunc('minute', ts) ORDER BY l DESC NULLS LAST, id) AS rn FROM t) WHERE rn <= 3
UNION ALL SELECT 4 AS q, id, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY date_trunc('minute', ts) ORDER BY u NULLS FIRST, id) AS rn FROM t) WHERE rn <= 3
