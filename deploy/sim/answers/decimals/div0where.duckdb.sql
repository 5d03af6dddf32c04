-- DuckDB gives NULL for a division by zero, and / is not one of integers.
SELECT i FROM read_json('${answers}/decimals/c.json', format = 'newline_delimited', columns = {i: 'INTEGER'}) WHERE i <> 1 AND 10 // nullif(i - 1, 0) > 5
