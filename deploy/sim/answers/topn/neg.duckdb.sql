-- NULL is the smallest value in Flink.
SELECT x, -rn AS d FROM (SELECT *, row_number() OVER (PARTITION BY time_bucket(INTERVAL '1 minute', ts) ORDER BY x NULLS FIRST) AS rn FROM read_json('${answers}/topn/in.json', format = 'newline_delimited', columns = {ts: 'TIMESTAMP', x: 'INTEGER', v: 'INTEGER'})) WHERE rn <= 3
