-- The generated events themselves.
CREATE TABLE nexmark (
  WATERMARK FOR dateTime AS dateTime - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'events.num' = '${events}', 'events.rate' = '${rate}');
