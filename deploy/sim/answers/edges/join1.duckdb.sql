WITH t AS (SELECT * FROM read_json('${answers}/edges/in.json', format = 'newline_delimited', columns = {id: 'INTEGER', ts: 'TIMESTAMP', b: 'BOOLEAN', y: 'TINYINT', i: 'INTEGER', l: 'BIGINT', f: 'FLOAT', d: 'DOUBLE', n: 'DECIMAL(10,2)', m: 'DECIMAL(38,10)', s: 'VARCHAR', u: 'VARCHAR', dt: 'DATE', t3: 'TIMESTAMP', t6: 'TIMESTAMP', r: 'STRUCT(a INTEGER, b VARCHAR)'}))
SELECT 0 AS q, a.id AS x, b.id AS y FROM t a JOIN t b ON date_trunc('minute', a.ts) = date_trunc('minute', b.ts) AND a.d = b.d
UNION ALL SELECT 1 AS q, a.id AS x, b.id AS y FROM t a JOIN t b ON date_trunc('minute', a.ts) = date_trunc('minute', b.ts) AND a.f = b.d
UNION ALL SELECT 2 AS q, a.id AS x, b.id AS y FROM t a JOIN t b ON date_trunc('minute', a.ts) = date_trunc('minute', b.ts) AND a.s = b.s
UNION ALL SELECT 3 AS q, a.id AS x, b.id AS y FROM t a JOIN t b ON date_trunc('minute', a.ts) = date_trunc('minute', b.ts) AND a.n = b.n
UNION ALL SELECT 4 AS q, a.id AS x, b.id AS y FROM t a JOIN t b ON date_trunc('minute', a.ts) = date_trunc('minute', b.ts) AND a.n = b.m
UNION ALL SELECT 5 AS q, a.id AS x, b.id AS y FROM t a JOIN t b ON date_trunc('minute', a.ts) = date_trunc('minute', b.ts) AND a.i = b.l
UNION ALL SELECT 6 AS q, a.id AS x, b.id AS y FROM t a JOIN t b ON date_trunc('minute', a.ts) = date_trunc('minute', b.ts) AND a.y = b.i
UNION ALL SELECT 7 AS q, a.id AS x, b.id AS y FROM t a JOIN t b ON date_trunc('minute', a.ts) = date_trunc('minute', b.ts) AND a.b = b.b
