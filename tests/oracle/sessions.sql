-- The batch twin of examples/viewing-sessions: plays and heartbeats in one row of time, and a new session where the distance to the one
-- before is greater than half an hour.
CREATE VIEW play AS SELECT * FROM raw_p WHERE NOT trailer QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;
CREATE VIEW hb   AS SELECT * FROM raw_h QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;

CREATE TABLE d6 AS
WITH e AS (
  SELECT event_id, profile_id, event_ts, playback_id, title_id, 0::BIGINT AS watched_ms FROM play
  UNION ALL SELECT event_id, profile_id, event_ts, playback_id, title_id, watched_ms FROM hb
), f AS (
  SELECT * FROM e WHERE event_id NOT IN (SELECT event_id FROM late WHERE dataset = 'sessions')
), g AS (
  SELECT *, CASE WHEN event_ts - lag(event_ts) OVER (PARTITION BY profile_id ORDER BY event_ts, event_id) <= 1800000
                 THEN 0 ELSE 1 END AS brk FROM f
), s AS (
  SELECT *, sum(brk) OVER (PARTITION BY profile_id ORDER BY event_ts, event_id) AS sid FROM g
)
SELECT profile_id, min(event_ts) AS session_start, max(event_ts) AS session_end, count(*) AS events,
       least(count(DISTINCT playback_id), 256) AS playbacks, least(count(DISTINCT title_id), 256) AS titles,
       sum(watched_ms)::BIGINT AS watched_ms
FROM s GROUP BY profile_id, sid;
