-- The batch twin of examples/completion: heartbeats by playback, and the version of the title that was valid when the play began. A row of
-- `catalog` without a version says that the title was deleted: then nobody knows what is completed (`least` alone would say 1).
CREATE VIEW play AS SELECT * FROM raw_p WHERE NOT trailer QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;
CREATE VIEW hb   AS SELECT * FROM raw_h QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;
CREATE MACRO late_of(d) AS TABLE SELECT event_id FROM late WHERE dataset = d;

CREATE TABLE d7 AS
WITH agg AS (
  SELECT playback_id, max(pos_ms) AS max_pos_ms, sum(watched_ms)::BIGINT AS watched_ms, bool_or(type = 'STOP') AS stopped,
         max(event_ts) AS last_ts
  FROM hb WHERE event_id NOT IN (FROM late_of('completion')) GROUP BY playback_id
)
SELECT a.playback_id, p.profile_id, p.title_id, p.event_ts AS play_ts, a.last_ts, a.max_pos_ms, a.watched_ms, c.version AS catalog_version,
       c.runtime_ms, CASE WHEN c.runtime_ms IS NOT NULL THEN least(1.0::DOUBLE, a.max_pos_ms / c.runtime_ms) END AS completion,
       a.max_pos_ms * 10 >= 9 * c.runtime_ms AS completed, CASE WHEN a.stopped THEN 'stop' ELSE 'timeout' END AS closed_by
FROM agg a JOIN (SELECT * FROM play WHERE event_id NOT IN (FROM late_of('completion'))) p USING (playback_id)
ASOF LEFT JOIN catalog c ON c.title_id = p.title_id AND p.event_ts >= c.valid_from;
