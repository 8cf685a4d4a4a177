-- The batch twin of examples/continue-watching: the last position of each profile in each title, where that is neither the beginning nor the
-- end of what the title was then. A row of `catalog` without a runtime says that the title was deleted.
CREATE VIEW hb AS SELECT * FROM raw_h QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY off) = 1;

CREATE TABLE d8 AS
WITH l AS (
  SELECT profile_id, title_id, arg_max(pos_ms, (event_ts, seq, event_id)) AS pos_ms, max(event_ts) AS ts FROM hb GROUP BY ALL
)
SELECT l.*, c.runtime_ms
FROM l ASOF JOIN catalog c ON c.title_id = l.title_id AND l.ts >= c.valid_from
WHERE l.pos_ms * 50 >= c.runtime_ms AND l.pos_ms * 10 < 9 * c.runtime_ms;
