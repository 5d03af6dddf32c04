SELECT i FROM read_json('${answers}/guards/in.json', format = 'newline_delimited', columns = {i: 'INTEGER', s: 'VARCHAR'}) WHERE CASE WHEN s <> 'x' THEN CAST(s AS INTEGER) > 8 ELSE FALSE END
