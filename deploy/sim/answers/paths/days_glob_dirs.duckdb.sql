SELECT i FROM read_json('${answers}/paths/days/2024-*/*.json', columns = {i: 'INTEGER'})
