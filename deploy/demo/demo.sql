-- A year of flights out of New York, replayed as it became known.
--
-- A flight is known when it has landed, but it counts for the hour in which it took off. So the stream is badly out of
-- order: a nonstop to Honolulu is reported ten hours after its departure. The watermark says how long we wait.

CREATE TABLE flights (
  reported_time      TIMESTAMP(6),
  departure_time     TIMESTAMP(6),
  carrier            STRING,
  origin             STRING,
  dest               STRING,
  dep_delay_minutes  INT,
  arr_delay_minutes  INT,
  WATERMARK FOR departure_time AS departure_time - INTERVAL '6' HOUR
) WITH (
  'connector' = 'filesystem',
  'path' = 'deploy/demo/data/flights.parquet',
  'format' = 'parquet',
  'replay.column' = 'reported_time'
);

CREATE TABLE weather (
  observed_time     TIMESTAMP(6),
  station           STRING,
  temperature_f     DOUBLE,
  wind_speed_mph    DOUBLE,
  precipitation_in  DOUBLE,
  visibility_miles  DOUBLE,
  WATERMARK FOR observed_time AS observed_time
) WITH (
  'connector' = 'filesystem',
  'path' = 'deploy/demo/data/weather.parquet',
  'format' = 'parquet',
  'replay.column' = 'observed_time'
);

-- Every hour of every airport: how late did its flights take off?
CREATE VIEW hourly_departures AS
SELECT
  window_start,
  window_end,
  window_time,
  origin,
  COUNT(*)                                                               AS flights,
  AVG(dep_delay_minutes)                                                 AS average_delay,
  MAX(dep_delay_minutes)                                                 AS worst_delay,
  100.0 * COUNT(*) FILTER (WHERE dep_delay_minutes > 60) / COUNT(*)      AS percent_over_an_hour
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(departure_time), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, window_time, origin;

-- 1. Departures and the weather they met: two streams, joined hour by hour.
WITH hourly_weather AS (
  SELECT
    window_start,
    window_end,
    station,
    AVG(temperature_f)     AS temperature_f,
    MAX(wind_speed_mph)    AS wind_mph,
    MIN(visibility_miles)  AS visibility_miles
  FROM TABLE(TUMBLE(TABLE weather, DESCRIPTOR(observed_time), INTERVAL '1' HOUR))
  GROUP BY window_start, window_end, station
)
SELECT
  d.window_start                   AS departures_of,
  d.origin                         AS airport,
  d.flights,
  ROUND(d.average_delay, 1)        AS average_delay,
  d.worst_delay,
  ROUND(d.percent_over_an_hour, 1) AS percent_over_an_hour,
  w.temperature_f,
  ROUND(w.wind_mph, 1)             AS wind_mph,
  w.visibility_miles
FROM hourly_departures AS d
JOIN hourly_weather AS w
  ON d.window_start = w.window_start AND d.window_end = w.window_end AND d.origin = w.station;

-- 2. The three worst airlines of each day, by how late they arrive.
WITH daily_airlines AS (
  SELECT
    window_start,
    window_end,
    carrier,
    COUNT(*)                AS flights,
    AVG(arr_delay_minutes)  AS average_delay
  FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(departure_time), INTERVAL '1' DAY))
  GROUP BY window_start, window_end, carrier
  HAVING COUNT(*) >= 10
)
SELECT
  window_start             AS worst_airlines_of,
  place,
  carrier,
  flights,
  ROUND(average_delay, 1)  AS average_delay
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY average_delay DESC) AS place
  FROM daily_airlines
)
WHERE place <= 3;

-- 3. The temperature at each airport, smoothed: the mean of six hours, every hour.
SELECT
  window_end                    AS temperature_at,
  station                       AS airport,
  ROUND(AVG(temperature_f), 1)  AS six_hour_mean_f
FROM TABLE(HOP(TABLE weather, DESCRIPTOR(observed_time), INTERVAL '1' HOUR, INTERVAL '6' HOUR))
GROUP BY window_start, window_end, station;

-- 4. Alerts: an hour in which flights took off far later than is usual at that airport, where usual is the last 24 hours.
--    Each hour is put into the day-long window that ends with it, and met there by the day's average.
CREATE VIEW busy_hours AS
SELECT window_end AS hour_end, window_time AS hour_time, origin, flights, average_delay
FROM hourly_departures
WHERE flights >= 5;

WITH hours AS (
  SELECT window_start, window_end, origin, flights, average_delay
  FROM TABLE(HOP(TABLE busy_hours, DESCRIPTOR(hour_time), INTERVAL '1' HOUR, INTERVAL '24' HOUR))
  WHERE window_end = hour_end
),
last_day AS (
  SELECT window_start, window_end, origin, AVG(dep_delay_minutes) AS average_delay
  FROM TABLE(HOP(TABLE flights, DESCRIPTOR(departure_time), INTERVAL '1' HOUR, INTERVAL '24' HOUR))
  GROUP BY window_start, window_end, origin
)
SELECT
  h.window_end              AS alert_at,
  h.origin                  AS airport,
  h.flights,
  ROUND(h.average_delay, 1) AS average_delay,
  ROUND(u.average_delay, 1) AS usual_delay
FROM hours AS h
JOIN last_day AS u
  ON h.window_start = u.window_start AND h.window_end = u.window_end AND h.origin = u.origin
WHERE h.average_delay > 60 AND h.average_delay > 3 * u.average_delay;
