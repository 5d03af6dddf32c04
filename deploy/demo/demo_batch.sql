-- What each query of demo.sql must have given in the end, written by hand for a batch engine. The tests compare both over
-- the same files; each section below stands for the next SELECT.
-- stream
demo.sql
-- batch
SELECT d.w, d.origin, d.flights, round(d.average_delay, 1), d.worst_delay, round(d.percent, 1), w.temperature_f, round(w.wind_mph, 1), w.visibility_miles
FROM (
  SELECT date_bin(INTERVAL '1 hour', departure_time) AS w, origin, count(*) AS flights, avg(dep_delay_minutes) AS average_delay,
    max(dep_delay_minutes) AS worst_delay, CAST(100.0 AS DECIMAL(4, 1)) * sum(CASE WHEN dep_delay_minutes > 60 THEN 1 ELSE 0 END) / count(*) AS percent
  FROM flights GROUP BY 1, 2) d
JOIN (
  SELECT date_bin(INTERVAL '1 hour', observed_time) AS w, station, avg(temperature_f) AS temperature_f,
    max(wind_speed_mph) AS wind_mph, min(visibility_miles) AS visibility_miles
  FROM weather GROUP BY 1, 2) w
ON d.w = w.w AND d.origin = w.station
-- batch
SELECT w, place, carrier, flights, round(average_delay, 1) FROM (
  SELECT *, row_number() OVER (PARTITION BY w ORDER BY average_delay DESC NULLS LAST, carrier) AS place FROM (
    SELECT date_bin(INTERVAL '1 day', departure_time) AS w, carrier, count(*) AS flights, avg(arr_delay_minutes) AS average_delay
    FROM flights GROUP BY 1, 2 HAVING count(*) >= 10))
WHERE place <= 3
-- batch
SELECT w + INTERVAL '6 hours', station, round(avg(temperature_f), 1) FROM (
  SELECT station, temperature_f, date_bin(INTERVAL '1 hour', observed_time) - unnest([INTERVAL '0 hours', INTERVAL '1 hours',
    INTERVAL '2 hours', INTERVAL '3 hours', INTERVAL '4 hours', INTERVAL '5 hours']) AS w FROM weather)
GROUP BY w, station
-- batch
WITH hours AS (
  SELECT date_bin(INTERVAL '1 hour', departure_time) AS w, origin, count(*) AS flights, avg(dep_delay_minutes) AS average_delay,
    sum(dep_delay_minutes) AS minutes, count(dep_delay_minutes) AS known
  FROM flights GROUP BY 1, 2),
usual AS (
  SELECT h.w, h.origin, CAST(sum(day.minutes) AS DOUBLE) / sum(day.known) AS average_delay
  FROM hours h JOIN hours day ON day.origin = h.origin AND day.w > h.w - INTERVAL '24 hours' AND day.w <= h.w
  WHERE h.flights >= 5 AND h.average_delay > 60
  GROUP BY h.w, h.origin)
SELECT h.w + INTERVAL '1 hour', h.origin, h.flights, round(h.average_delay, 1), round(u.average_delay, 1)
FROM hours h JOIN usual u ON h.w = u.w AND h.origin = u.origin WHERE h.average_delay > 3 * u.average_delay
