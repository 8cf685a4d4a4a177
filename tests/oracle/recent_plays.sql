-- The batch twin of examples/recent-plays: the last play of each title, and of these the latest twenty.
CREATE VIEW play AS SELECT * FROM raw_p WHERE NOT trailer QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;

CREATE TABLE d5 AS
WITH l AS (
  SELECT profile_id, title_id, max(event_ts) AS ts FROM play GROUP BY ALL
), r AS (
  SELECT *, row_number() OVER (PARTITION BY profile_id ORDER BY ts DESC, title_id DESC) AS k FROM l
)
SELECT array_to_string(list(title_id ORDER BY k), ',') AS recent_titles, max(ts) AS last_play_ts, profile_id
FROM r WHERE k <= 20 GROUP BY profile_id;
