-- The tables that every case has. ${data} is the directory with the generated input (see src/input.rs).

CREATE TABLE clicks (
  id           BIGINT NOT NULL,
  ts           TIMESTAMP(3) NOT NULL,
  user_id      BIGINT NOT NULL,
  page         STRING NOT NULL,
  country      STRING,
  duration_ms  INT,
  price        DOUBLE,
  ok           BOOLEAN,
  device       ROW<os STRING, version INT>,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/clicks.json', 'format' = 'json');

-- The same rows, dealt to several files whose times overlap.
CREATE TABLE click_parts (
  id           BIGINT NOT NULL,
  ts           TIMESTAMP(3) NOT NULL,
  user_id      BIGINT NOT NULL,
  page         STRING NOT NULL,
  country      STRING,
  duration_ms  INT,
  price        DOUBLE,
  ok           BOOLEAN,
  device       ROW<os STRING, version INT>,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/clicks', 'format' = 'json');

CREATE TABLE bids (
  id       BIGINT NOT NULL,
  ts       TIMESTAMP(3) NOT NULL,
  auction  BIGINT NOT NULL,
  bidder   BIGINT,
  price    BIGINT NOT NULL,
  channel  STRING NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/bids.json', 'format' = 'json');

-- Their times cross 1970.
CREATE TABLE sensors (
  id           BIGINT NOT NULL,
  ts           TIMESTAMP(6) NOT NULL,
  sensor       STRING NOT NULL,
  room         INT NOT NULL,
  temperature  DOUBLE,
  note         STRING,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/sensors.csv', 'format' = 'csv', 'csv.header' = 'true');

CREATE TABLE trades (
  id        BIGINT NOT NULL,
  ts        TIMESTAMP(3) NOT NULL,
  symbol    STRING NOT NULL,
  side      STRING,
  quantity  INT NOT NULL,
  price     DECIMAL(12, 2) NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${data}/trades.parquet', 'format' = 'parquet');
