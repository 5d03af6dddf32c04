SELECT 1 AS x FROM read_json('${answers}/far-strings/far.json', format = 'newline_delimited', columns = {ts: 'TIMESTAMP'}) WHERE date_trunc('hour', ts) = ts
