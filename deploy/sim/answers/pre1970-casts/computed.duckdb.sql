SELECT date_trunc('second', ts) AS s, COUNT(*) AS n FROM read_json('${answers}/pre1970-casts/in.json', format = 'newline_delimited', columns = {i: 'INTEGER', ts: 'TIMESTAMP'}) GROUP BY 1
