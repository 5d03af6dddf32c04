SELECT i FROM read_json('${answers}/paths/with space/*.json', columns = {i: 'INTEGER'})
