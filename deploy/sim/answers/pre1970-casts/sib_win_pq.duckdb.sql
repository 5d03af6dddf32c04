SELECT CAST(date_trunc('hour', ts) AS TIMESTAMP_MS) AS s, COUNT(*) AS n FROM read_parquet('${answers}/pre1970-casts/one.parquet') GROUP BY 1
