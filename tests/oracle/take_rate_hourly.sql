-- The batch twin of examples/take-rate-hourly: impressions by the hour in which they were shown, and how many of them a play took, however late.
CREATE VIEW imp  AS SELECT * FROM raw_i QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;
CREATE VIEW play AS SELECT * FROM raw_p WHERE NOT trailer QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;
CREATE MACRO late_of(d) AS TABLE SELECT event_id FROM late WHERE dataset = d;

CREATE TABLE attributed AS
SELECT i.event_id AS imp_id
FROM (SELECT * FROM play WHERE event_id NOT IN (FROM late_of('taken'))) p
JOIN (SELECT * FROM imp WHERE event_id NOT IN (FROM late_of('taken'))) i
  ON i.profile_id = p.profile_id AND i.title_id = p.title_id AND i.event_ts BETWEEN p.event_ts - 21600000 AND p.event_ts
QUALIFY row_number() OVER (PARTITION BY p.event_id ORDER BY i.event_ts DESC, i.event_id DESC) = 1;

-- Impressions and takes are one stream of rows, as in the pipeline: of either some may have been late. Whole numbers: their ratio is compared
-- by comparing them.
CREATE TABLE d2 AS
WITH rows_of_hours AS (
  SELECT event_id, event_ts, country, row_type, position, false AS taken FROM imp
  UNION ALL SELECT event_id, event_ts, country, row_type, position, true FROM imp SEMI JOIN attributed a ON a.imp_id = imp.event_id
)
SELECT event_ts - event_ts % 3600000 AS w_start, country, row_type, count(*) FILTER (NOT taken) AS impressions,
       count(*) FILTER (taken) AS takes, position
FROM rows_of_hours
ANTI JOIN (SELECT event_id, coalesce(taken, false) AS taken FROM late WHERE dataset = 'hourly_takes') l USING (event_id, taken)
GROUP BY ALL;
