-- DuckDB takes a regular expression here; SQL's _ and % are its . and .*.
SELECT i FROM read_json('${answers}/similar-to/in.json', format = 'newline_delimited', columns = {i: 'INTEGER', s: 'VARCHAR'}) WHERE s SIMILAR TO 'a.c'
