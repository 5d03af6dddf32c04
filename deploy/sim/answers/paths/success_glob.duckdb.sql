SELECT i FROM read_json('${answers}/paths/days/2024-02/*.json', columns = {i: 'INTEGER'})
