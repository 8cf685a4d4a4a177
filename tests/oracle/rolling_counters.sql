-- The batch twin of examples/rolling-counters: for each play those of the hour, the day and the week that end with it.
CREATE VIEW play AS SELECT * FROM raw_p WHERE NOT trailer QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;

CREATE TABLE d4 AS
SELECT event_id, profile_id, event_ts,
       count(*) OVER w1 AS plays_1h, count(*) OVER w24 AS plays_24h, count(*) OVER w7 AS plays_7d
FROM play WHERE event_id NOT IN (SELECT event_id FROM late WHERE dataset = 'rolling')
WINDOW w1 AS (PARTITION BY profile_id ORDER BY event_ts RANGE BETWEEN 3599999 PRECEDING AND CURRENT ROW),
       w24 AS (PARTITION BY profile_id ORDER BY event_ts RANGE BETWEEN 86399999 PRECEDING AND CURRENT ROW),
       w7 AS (PARTITION BY profile_id ORDER BY event_ts RANGE BETWEEN 604799999 PRECEDING AND CURRENT ROW);
