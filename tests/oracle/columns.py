"""Writes the sound records of a topic as Parquet files, one for each day of their event time, as a warehouse would keep them."""

import pathlib
import sys

import duckdb

COMMON = "event_id:'VARCHAR',event_ts:'BIGINT',sent_ts:'BIGINT',profile_id:'BIGINT',account_id:'BIGINT',device:'VARCHAR',country:'VARCHAR',title_id:'BIGINT'"
COLUMNS = {
    "impressions": "\"row\":'BIGINT',row_type:'VARCHAR',position:'BIGINT',algo:'VARCHAR'",
    "play_starts": "playback_id:'VARCHAR',offline:'BOOLEAN',trailer:'BOOLEAN'",
    "playback_events": "playback_id:'VARCHAR',seq:'BIGINT',type:'VARCHAR',pos_ms:'BIGINT',watched_ms:'BIGINT'",
}


def main():
    topic, lines, folder = sys.argv[1:4]
    db = duckdb.connect()
    # In the order of the file: of records with one id the first one counts.
    db.execute("SET threads = 1")
    db.execute(
        f"CREATE TABLE records AS SELECT *, row_number() OVER () AS off FROM read_json('{lines}', format='newline_delimited', "
        f"columns={{{COMMON},{COLUMNS[topic]}}}, ignore_errors=true, maximum_object_size=4000000)"
    )
    db.execute("DELETE FROM records WHERE event_id IS NULL OR event_ts IS NULL")
    days = db.execute("SELECT DISTINCT event_ts // 86400000 AS day FROM records ORDER BY day").fetchall()
    for (day,) in days:
        path = pathlib.Path(folder) / f"day={day}"
        path.mkdir(parents=True, exist_ok=True)
        rows = f"SELECT * EXCLUDE off FROM records WHERE event_ts // 86400000 = {day} ORDER BY off"
        db.execute(f"COPY ({rows}) TO '{path / 'records.parquet'}' (FORMAT parquet, ROW_GROUP_SIZE 5000)")


if __name__ == "__main__":
    main()
