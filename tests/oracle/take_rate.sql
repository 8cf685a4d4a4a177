-- Impressions and clicks per position and hour, by batch.
CREATE TABLE hourly AS
WITH shown AS (SELECT position, click, epoch_ms("timestamp"::TIMESTAMPTZ) AS ts FROM read_csv('$csv', header = true))
SELECT position, ts - ts % 3600000 AS w_start, count(*) AS impressions, sum(click)::BIGINT AS clicks, sum(click)::DOUBLE / count(*) AS take_rate
FROM shown GROUP BY ALL;
