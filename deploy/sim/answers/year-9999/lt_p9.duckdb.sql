SELECT v FROM read_json('${answers}/year-9999/in.json', format = 'newline_delimited', columns = {ts: 'TIMESTAMP', v: 'INTEGER'}) WHERE year(ts) < 9999
