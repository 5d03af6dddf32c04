SELECT 1 AS x FROM read_json('${answers}/far-strings/far.json', format = 'newline_delimited', columns = {ts: 'TIMESTAMP'}) WHERE ts BETWEEN '2026-01-01' AND '9999-12-31'
