SELECT i, date_trunc('milliseconds', ts) AS ts FROM read_parquet('${answers}/parquet-int96/x.parquet')
