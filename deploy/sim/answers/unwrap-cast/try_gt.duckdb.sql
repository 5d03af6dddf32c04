SELECT i FROM read_json('${answers}/unwrap-cast/in.json', format = 'newline_delimited', columns = {ts: 'TIMESTAMP', i: 'INTEGER', d: 'DECIMAL(10, 2)', n: 'BIGINT'}) WHERE TRY_CAST(n AS TINYINT) > 1
