-- The tables that every case has, read by DuckDB's own readers, and what it calls otherwise.
-- ${data} is the directory with the generated input.

CREATE TABLE clicks AS SELECT * FROM read_json('${data}/clicks.json', format = 'newline_delimited', columns = {
  id: 'BIGINT', ts: 'TIMESTAMP', user_id: 'BIGINT', page: 'VARCHAR', country: 'VARCHAR', duration_ms: 'INTEGER', price: 'DOUBLE',
  ok: 'BOOLEAN', device: 'STRUCT(os VARCHAR, version INTEGER)'});
CREATE TABLE bids AS SELECT * FROM read_json('${data}/bids.json', format = 'newline_delimited', columns = {
  id: 'BIGINT', ts: 'TIMESTAMP', auction: 'BIGINT', bidder: 'BIGINT', price: 'BIGINT', channel: 'VARCHAR'});
CREATE TABLE sensors AS SELECT * FROM read_csv('${data}/sensors.csv', header = true, columns = {
  id: 'BIGINT', ts: 'TIMESTAMP', sensor: 'VARCHAR', room: 'INTEGER', temperature: 'DOUBLE', note: 'VARCHAR'});
CREATE TABLE trades AS SELECT * FROM read_parquet('${data}/trades.parquet');
CREATE MACRO date_bin
  (width, t) AS time_bucket(width, t, TIMESTAMP '1970-01-01'),
  (width, t, origin) AS time_bucket(width, t, origin);
CREATE MACRO btrim(text, characters) AS trim(text, characters);
CREATE MACRO character_length(text) AS length(text);
