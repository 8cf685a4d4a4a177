-- The batch twin of examples/personalization: what a nightly job would compute from the same records. `late` holds what the stream
-- put aside as too late: the batch job leaves exactly that out.
CREATE MACRO tumble(ts, w) AS ts - ts % w;
CREATE MACRO late_of(d) AS TABLE SELECT event_id FROM late WHERE dataset = d;
CREATE VIEW imp  AS SELECT * FROM raw_i QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;
CREATE VIEW play AS SELECT * FROM raw_p WHERE NOT trailer QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;
CREATE VIEW hb   AS SELECT * FROM raw_h QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;

CREATE TABLE d0 AS SELECT event_id, event_ts, profile_id, title_id, playback_id, seq, type, pos_ms, watched_ms FROM hb;

CREATE TABLE d1 AS
SELECT p.playback_id, p.profile_id, p.title_id, p.country, p.event_ts AS play_ts, p.offline,
       i.event_id AS imp_id, i.event_ts AS imp_ts, i."row", i.row_type, i.position, i.algo, p.event_ts - i.event_ts AS age_ms
FROM (SELECT * FROM play WHERE event_id NOT IN (FROM late_of('discovery'))) p
LEFT JOIN (SELECT * FROM imp WHERE event_id NOT IN (FROM late_of('discovery'))) i
  ON i.profile_id = p.profile_id AND i.title_id = p.title_id AND i.event_ts BETWEEN p.event_ts - 21600000 AND p.event_ts
QUALIFY row_number() OVER (PARTITION BY p.event_id ORDER BY i.event_ts DESC NULLS LAST, i.event_id DESC) = 1;

CREATE TABLE d3 AS
WITH x AS (
  SELECT country, title_id, profile_id, event_id,
         unnest(range(tumble(event_ts, 60000) + 60000, tumble(event_ts, 60000) + 360000, 60000)) AS w_end
  FROM play
), c AS (
  SELECT country, w_end, title_id, count(DISTINCT profile_id) AS viewers, count(*) AS plays
  FROM x ANTI JOIN (SELECT event_id, window_end AS w_end FROM late WHERE dataset = 'trending') l USING (event_id, w_end)
  GROUP BY ALL
)
SELECT country, w_end - 300000 AS w_start, w_end,
       row_number() OVER (PARTITION BY country, w_end ORDER BY viewers DESC, plays DESC, title_id) AS rank, title_id, viewers, plays
FROM c QUALIFY rank <= 10;

CREATE TABLE d10 AS
SELECT profile_id, title_id, tumble(event_ts, 86400000) AS day, count(*) AS imps, max(event_ts) AS last_imp_ts
FROM imp WHERE event_id NOT IN (FROM late_of('frequency_cap')) GROUP BY ALL HAVING count(*) >= 3;
