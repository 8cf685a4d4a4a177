-- Departures and mean delay per origin and window of the scheduled time, by batch, without what the stream put aside as late. Where the window
-- of a time begins, the macro `window_start` says.
CREATE TABLE flights AS
SELECT origin, scheduled_min * 60000 AS scheduled_ms, (scheduled_min + delay_min) * 60000 AS departed_ms, delay_min,
       carrier || '-' || flight || '-' || origin || '-' || dest || '-' || scheduled_min AS flight_id
FROM read_csv('$csv', header = true);

CREATE TABLE hourly AS
SELECT origin, window_start(scheduled_ms) AS w_start, count(*) AS departures, sum(delay_min)::BIGINT AS delay_sum_min,
       sum(delay_min)::DOUBLE / count(*) AS mean_delay
FROM flights WHERE flight_id NOT IN (SELECT id FROM late) GROUP BY ALL;
