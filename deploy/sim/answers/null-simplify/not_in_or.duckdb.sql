SELECT i NOT IN (1, 2) OR i NOT IN (3, 4) AS x FROM read_json('${answers}/null-simplify/in.json', format = 'newline_delimited', columns = {a: 'DOUBLE', i: 'INTEGER', b: 'BOOLEAN', s: 'VARCHAR'})
