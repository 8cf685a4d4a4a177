-- The batch twin of examples/labelled-impressions: each impression that led to two minutes of watching, and one in ten of the others, with the
-- profile as it was when it was shown. A row of `prof` without a country says that the profile was deleted.
CREATE VIEW imp  AS SELECT * FROM raw_i QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;
CREATE VIEW play AS SELECT * FROM raw_p WHERE NOT trailer QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;
CREATE VIEW hb   AS SELECT * FROM raw_h QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;
CREATE MACRO late_of(d) AS TABLE SELECT event_id FROM late WHERE dataset = d;

CREATE TABLE attributed AS
SELECT p.playback_id, i.event_id AS imp_id
FROM (SELECT * FROM play WHERE event_id NOT IN (FROM late_of('attribution'))) p
JOIN (SELECT * FROM imp WHERE event_id NOT IN (FROM late_of('attribution'))) i
  ON i.profile_id = p.profile_id AND i.title_id = p.title_id AND i.event_ts BETWEEN p.event_ts - 21600000 AND p.event_ts
QUALIFY row_number() OVER (PARTITION BY p.event_id ORDER BY i.event_ts DESC, i.event_id DESC) = 1;

CREATE TABLE watched AS
SELECT playback_id, sum(watched_ms)::BIGINT AS watched_ms
FROM hb SEMI JOIN (SELECT playback_id FROM play WHERE event_id NOT IN (FROM late_of('playbacks'))) p USING (playback_id)
WHERE event_id NOT IN (FROM late_of('playbacks')) GROUP BY playback_id;

CREATE TABLE training_rows AS
WITH lab AS (
  SELECT imp_id, max(watched_ms) AS watched_ms FROM attributed JOIN watched USING (playback_id) GROUP BY imp_id
)
SELECT i.event_id AS imp_id, i.event_ts, i.profile_id, i.title_id, i."row", i.position, i.algo, i.device, pr.country, pr.plan,
       (coalesce(lab.watched_ms, 0) >= 120000)::BIGINT AS label, coalesce(lab.watched_ms, 0) AS watched_ms
FROM imp i LEFT JOIN lab ON lab.imp_id = i.event_id
ASOF LEFT JOIN prof pr ON pr.profile_id = i.profile_id AND i.event_ts >= pr.valid_from
WHERE NOT coalesce(pr.test, false)
  AND (coalesce(lab.watched_ms, 0) >= 120000 OR ('0x' || substr(md5(i.event_id), 1, 8))::BIGINT % 10 = 0);
