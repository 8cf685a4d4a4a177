-- Every impression that a play may have come from, up to six hours before it, or that was logged up to ten minutes after it.
CREATE VIEW imp AS SELECT * FROM raw_i QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;
CREATE VIEW play AS SELECT * FROM raw_p WHERE NOT trailer QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;

CREATE TABLE pairs AS
SELECT p.playback_id, p.profile_id, p.title_id, p.country, p.event_ts AS play_ts, p.offline,
       i.event_id AS imp_id, i.event_ts AS imp_ts, i."row", i.row_type, i.position, i.algo, p.event_ts - i.event_ts AS age_ms
FROM (SELECT * FROM play WHERE event_id NOT IN (SELECT event_id FROM late WHERE dataset = 'discovery')) p
LEFT JOIN (SELECT * FROM imp WHERE event_id NOT IN (SELECT event_id FROM late WHERE dataset = 'discovery')) i
  ON i.profile_id = p.profile_id AND i.title_id = p.title_id AND i.event_ts BETWEEN p.event_ts - 21600000 AND p.event_ts + 600000;
