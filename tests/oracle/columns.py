"""Writes the sound records of a topic or table as Parquet files, one for each day of their event time, as a warehouse would keep them."""

import json
import pathlib
import sys
import tempfile

import duckdb

TYPES = {"VARCHAR": str, "BIGINT": int, "BOOLEAN": bool}
COMMON = {"event_id": "VARCHAR", "event_ts": "BIGINT", "sent_ts": "BIGINT", "profile_id": "BIGINT", "account_id": "BIGINT",
          "device": "VARCHAR", "country": "VARCHAR", "title_id": "BIGINT"}
COLUMNS = {
    "impressions": COMMON | {"row": "BIGINT", "row_type": "VARCHAR", "position": "BIGINT", "algo": "VARCHAR"},
    "play_starts": COMMON | {"playback_id": "VARCHAR", "offline": "BOOLEAN", "trailer": "BOOLEAN"},
    "playback_events": COMMON | {"playback_id": "VARCHAR", "seq": "BIGINT", "type": "VARCHAR", "pos_ms": "BIGINT", "watched_ms": "BIGINT"},
    "catalog": {"title_id": "BIGINT", "version": "BIGINT", "valid_from": "BIGINT", "runtime_ms": "BIGINT", "kind": "VARCHAR", "genre": "VARCHAR",
                "deleted": "BOOLEAN"},
    "profile_changes": {"profile_id": "BIGINT", "version": "BIGINT", "valid_from": "BIGINT", "country": "VARCHAR", "plan": "VARCHAR",
                        "test": "BOOLEAN", "deleted": "BOOLEAN"},
}


# A longer record is refused by its length, most of which no column would hold.
BYTES_MAX = 256 * 1024


def is_sound(line, columns, needed):
    """Whether a line is an object with values of these types; DuckDB would turn text into numbers."""
    if len(line) > BYTES_MAX:
        return False
    try:
        record = json.loads(line.decode())
    except ValueError:
        return False
    typed = all(record.get(name) is None or type(record[name]) is TYPES[kind] for name, kind in columns.items())
    return typed and all(record.get(name) is not None for name in needed)


def main():
    topic, lines, folder = sys.argv[1:4]
    columns = COLUMNS[topic]
    needed = ["event_id", "event_ts"] if "event_id" in columns else ["valid_from"]
    time = needed[-1]
    db = duckdb.connect()
    # In the order of the file: of records with one id the first one counts.
    db.execute("SET threads = 1")
    with tempfile.NamedTemporaryFile(suffix=".ndjson") as sound:
        sound.writelines(line for line in open(lines, "rb") if is_sound(line, columns, needed))
        sound.flush()
        spec = ", ".join(f"\"{name}\": '{kind}'" for name, kind in columns.items())
        db.execute(
            f"CREATE TABLE records AS SELECT *, row_number() OVER () AS off FROM read_json('{sound.name}', "
            f"format='newline_delimited', columns={{{spec}}}, maximum_object_size=4000000)"
        )
    days = db.execute(f"SELECT DISTINCT {time} // 86400000 AS day FROM records ORDER BY day").fetchall()
    for (day,) in days:
        path = pathlib.Path(folder) / f"day={day}"
        path.mkdir(parents=True, exist_ok=True)
        rows = f"SELECT * EXCLUDE off FROM records WHERE {time} // 86400000 = {day} ORDER BY off"
        db.execute(f"COPY ({rows}) TO '{path / 'records.parquet'}' (FORMAT parquet, ROW_GROUP_SIZE 5000)")


if __name__ == "__main__":
    main()
