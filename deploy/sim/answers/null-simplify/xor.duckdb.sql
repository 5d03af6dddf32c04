SELECT xor(i, i) AS x FROM read_json('${answers}/null-simplify/in.json', format = 'newline_delimited', columns = {a: 'DOUBLE', i: 'INTEGER', b: 'BOOLEAN', s: 'VARCHAR'})
