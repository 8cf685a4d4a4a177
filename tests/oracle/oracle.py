"""Holds what a pipeline wrote against a batch recomputation of the same records by DuckDB.

Shares nothing with the engine: another language, another team's query engine, the SQL that a nightly job would run. Prints a table of
matched / missing / unexpected / different rows per dataset, and a line `equal` or `DIFFERENT`; exits 1 unless all are equal.
"""

import argparse
import json
import pathlib
import sys

import duckdb

import files

HERE = pathlib.Path(__file__).parent

RAW = {
    "raw_i": ("impressions", "event_id:'VARCHAR',event_ts:'BIGINT',profile_id:'BIGINT',device:'VARCHAR',country:'VARCHAR',"
                             "title_id:'BIGINT',\"row\":'BIGINT',row_type:'VARCHAR',position:'BIGINT',algo:'VARCHAR'"),
    "raw_p": ("play_starts", "event_id:'VARCHAR',event_ts:'BIGINT',profile_id:'BIGINT',device:'VARCHAR',country:'VARCHAR',"
                             "title_id:'BIGINT',playback_id:'VARCHAR',offline:'BOOLEAN',trailer:'BOOLEAN'"),
    "raw_h": ("playback_events", "event_id:'VARCHAR',event_ts:'BIGINT',profile_id:'BIGINT',title_id:'BIGINT',playback_id:'VARCHAR',"
                                 "seq:'BIGINT',type:'VARCHAR',pos_ms:'BIGINT',watched_ms:'BIGINT'"),
    "catalog": ("catalog", "title_id:'BIGINT',version:'BIGINT',valid_from:'BIGINT',runtime_ms:'BIGINT'"),
    "prof": ("profile_changes", "profile_id:'BIGINT',valid_from:'BIGINT',country:'VARCHAR',plan:'VARCHAR',test:'BOOLEAN'"),
}

# Of a dataset whose rows carry no revision, the last one of a key counts: those of a key stand in one partition, in order.
LAST = "last"
# The same of a topic that was read as records, with their keys: one without a value says that there is no row.
LAST_OR_GONE = "last or gone"

# pipeline: (SQL, {dataset: (sink topic, key columns, the last of which is never null; whether rows carry rev and final, or LAST, or
# LAST_OR_GONE; late stage)})
PIPELINES = {
    "personalization": ("personalization.sql", {
        "d0": ("clean_playback_events", ["event_id"], False, None),
        "d1": ("source_of_discovery", ["playback_id"], True, "discovery"),
        "d3": ("trending", ["country", "w_end", "rank"], False, "trending"),
        "d10": ("frequency_cap", ["profile_id", "title_id", "day"], False, "frequency_cap"),
    }),
    "considered": ("considered.sql", {"pairs": ("source_of_discovery", ["imp_id", "playback_id"], False, "discovery")}),
    "sessions": ("sessions.sql", {"d6": ("viewing_sessions", ["profile_id", "session_start"], False, "sessions")}),
    "recent-plays": ("recent_plays.sql", {"d5": ("recent_plays", ["profile_id"], LAST, None)}),
    "rolling-counters": ("rolling_counters.sql", {"d4": ("rolling_counters", ["event_id"], False, "rolling")}),
    "take-rate-hourly": ("take_rate_hourly.sql", {
        "d2": ("take_rate_hourly", ["w_start", "country", "row_type", "position"], False, "hourly_takes"),
    }),
    "completion": ("completion.sql", {"d7": ("completion", ["playback_id"], True, "completion")}),
    "continue-watching": ("continue_watching.sql", {"d8": ("continue_watching", ["profile_id", "title_id"], LAST_OR_GONE, None)}),
}


def load_json(db, table, path, columns):
    """An NDJSON file as a table, with `off` = its line order; an empty or missing file is an empty table."""
    if not path.exists() or path.stat().st_size == 0:
        names = ", ".join(f"{c.split(':')[0]} {c.split(':')[1].strip(chr(39))}" for c in columns.split(","))
        db.execute(f"CREATE TABLE {table}({names}, off BIGINT)")
        return
    db.execute(
        f"CREATE TABLE {table} AS SELECT *, row_number() OVER () AS off "
        f"FROM read_json('{path}', format='newline_delimited', columns={{{columns}}}, maximum_object_size=4000000)"
    )


def load_late(db, folder):
    """Rows that were late, by stage. `taken`: where a stage reads both, whether it is a take and not an impression."""
    db.execute("CREATE TABLE late(dataset VARCHAR, event_id VARCHAR, window_end BIGINT, taken BOOLEAN)")
    for path in sorted(folder.glob("late.*.ndjson")):
        if path.stat().st_size:
            db.execute(
                f"INSERT INTO late SELECT stage, record.event_id, window_end, record.taken FROM read_json('{path}', "
                "format='newline_delimited', columns={stage:'VARCHAR', window_end:'BIGINT', record:'STRUCT(event_id VARCHAR, taken BOOLEAN)'})"
            )


def load_output(db, name, path, keys, upsert):
    """What the sink's topic holds. Of an upsert dataset: the last row of each key, which must be final if rows say so."""
    described = db.execute(f"DESCRIBE {name}").fetchall()
    columns = [row[0] for row in described]
    typed = {row[0]: row[1] for row in described}
    if upsert == LAST_OR_GONE:
        return load_last_or_gone(db, name, path, typed)
    if upsert is True:
        typed |= {"rev": "BIGINT", "final": "BOOLEAN"}
    spec = ",".join(f"\"{c}\":'{'BIGINT' if t in ('HUGEINT', 'INTEGER') else t}'" for c, t in typed.items())
    load_json(db, f"all_{name}", path, spec)
    listed = ", ".join(f'"{c}"' for c in columns)
    if not upsert:
        db.execute(f"CREATE VIEW got_{name} AS SELECT {listed} FROM all_{name}")
        return 0
    key = ", ".join(keys)
    if upsert == LAST:
        db.execute(
            f"CREATE VIEW got_{name} AS SELECT {listed} FROM all_{name} QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY off DESC) = 1"
        )
        return 0
    db.execute(
        f"CREATE TABLE last_{name} AS SELECT * FROM all_{name} QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY rev DESC) = 1"
    )
    db.execute(f"CREATE VIEW got_{name} AS SELECT {listed} FROM last_{name}")
    return db.execute(f"SELECT count(*) FROM last_{name} WHERE NOT final").fetchall()[0][0]


def load_last_or_gone(db, name, path, typed):
    """The last record of each key, where it has a value."""
    load_json(db, f"all_{name}", path, "key:'VARCHAR',value:'VARCHAR'")
    columns = ", ".join(f"CAST(value->>'$.{column}' AS {kind}) AS \"{column}\"" for column, kind in typed.items())
    db.execute(
        f"CREATE TABLE last_{name} AS SELECT * FROM all_{name} QUALIFY row_number() OVER (PARTITION BY key ORDER BY off DESC) = 1"
    )
    db.execute(f"CREATE VIEW got_{name} AS SELECT {columns} FROM last_{name} WHERE value IS NOT NULL")
    return 0


def compare(db, name, keys):
    """Rows that are the same, only in the batch answer, only in the stream's, in both but different; and rows that stand twice."""
    columns = [row[0] for row in db.execute(f"DESCRIBE {name}").fetchall()]
    on = " AND ".join(f'a."{k}" IS NOT DISTINCT FROM b."{k}"' for k in keys)
    same = " AND ".join(f'a."{c}" IS NOT DISTINCT FROM b."{c}"' for c in columns)
    never_null = keys[-1]
    count = lambda sql: db.execute(sql).fetchall()[0][0]
    matched = count(f"SELECT count(*) FROM {name} a JOIN got_{name} b ON {on} WHERE {same}")
    different = count(f"SELECT count(*) FROM {name} a JOIN got_{name} b ON {on} WHERE NOT ({same})")
    missing = count(f'SELECT count(*) FROM {name} a LEFT JOIN got_{name} b ON {on} WHERE b."{never_null}" IS NULL')
    unexpected = count(f'SELECT count(*) FROM got_{name} b LEFT JOIN {name} a ON {on} WHERE a."{never_null}" IS NULL')
    listed = ", ".join(f'"{k}"' for k in keys)
    twice = count(f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM got_{name} GROUP BY {listed})")
    return matched, missing, unexpected, different, int(twice)


def show(rows):
    print(f"{'dataset':<10}{'rows':>10}{'matched':>10}{'missing':>10}{'unexpected':>12}{'different':>11}{'twice':>7}{'not final':>11}{'late':>9}")
    for row in rows:
        print(f"{row[0]:<10}{row[1]:>10}{row[2]:>10}{row[3]:>10}{row[4]:>12}{row[5]:>11}{row[6]:>7}{row[7]:>11}{row[8]:>9}")


def pipeline(name, batch, outputs):
    sql, datasets = PIPELINES[name]
    db = duckdb.connect()
    for table, (topic, columns) in RAW.items():
        load_json(db, table, batch / f"{topic}.ndjson", columns)
    load_late(db, outputs)
    db.execute((HERE / sql).read_text())
    rows, equal = [], True
    for name, (topic, keys, upsert, stage) in datasets.items():
        not_final = load_output(db, name, outputs / f"{topic}.ndjson", keys, upsert)
        matched, missing, unexpected, different, twice = compare(db, name, keys)
        late = db.execute("SELECT count(*) FROM late WHERE dataset = ?", [stage]).fetchall()[0][0]
        total = db.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0]
        rows.append((name, total, matched, missing, unexpected, different, twice, not_final, late))
        equal &= (missing, unexpected, different, twice, not_final) == (0, 0, 0, 0, 0) and matched == total
    show(rows)
    return equal


def fates(truth_path, summaries):
    """D0's counts against the truth file; the summaries of several processes add up."""
    truth = json.loads(truth_path.read_text())
    sources, stages = {}, {}
    for path in summaries:
        summary = json.loads(path.read_text())
        for of, into in (("sources", sources), ("stages", stages)):
            for one in summary[of]:
                total = into.setdefault(one["name"], {})
                for key, value in one["total"].items():
                    total[key] = total.get(key, 0) + value
    stage_of = {"impressions": "impressions", "play_starts": "plays", "playback_events": "heartbeats"}
    equal = True
    print(f"{'topic':<17}{'records':>9}{'accepted':>10}{'filtered':>10}{'duplicate':>11}{'conflicts':>11}{'dead':>7}   sum of fates")
    for topic, suffix in stage_of.items():
        want, source = truth[topic], sources[topic]
        clean, unique = stages[f"clean_{suffix}"], stages[f"unique_{suffix}"]
        filtered = clean["accepted"] - clean["rows_out"]
        dead = source["dead"] + clean["dead"] + unique["dead"]
        got = (source["read"], unique["accepted"], filtered, unique["duplicate"], unique["conflicting"], dead)
        wanted = tuple(want.get(k, 0) for k in ("records", "accepted", "filtered", "duplicate", "duplicate:conflicting", "dead"))
        total = unique["accepted"] + filtered + unique["duplicate"] + dead
        ok = got == wanted and total == source["read"]
        print(f"{topic:<17}{got[0]:>9}{got[1]:>10}{got[2]:>10}{got[3]:>11}{got[4]:>11}{got[5]:>7}   "
              + (f"{total} = records" if ok else f"{total}, WANTED {wanted}"))
        equal &= ok
    for name, one in stages.items():
        if one["rows_in"] != one["accepted"] + one["duplicate"] + one["late"] + one["dead"]:
            print(f"stage {name}: {one} do not add up")
            equal = False
    return equal


def published(name, batch, outputs):
    """The files in `out/` beside `outputs`."""
    sql, sinks = files.PIPELINES[name]
    db = duckdb.connect()
    for table, (topic, columns) in RAW.items():
        load_json(db, table, batch / f"{topic}.ndjson", columns)
    load_late(db, outputs)
    db.execute((HERE / sql).read_text())
    return files.judge(db, compare, outputs.parent / "out", sinks)


def hourly(sql, outputs, keys):
    """A single dataset called `hourly`, computed by `sql` from files that it names itself."""
    db = duckdb.connect()
    load_late_flat(db, outputs / "late.hourly.ndjson")
    db.execute(sql)
    load_output(db, "hourly", outputs / "hourly.ndjson", keys, False)
    matched, missing, unexpected, different, twice = compare(db, "hourly", keys)
    total = db.execute("SELECT count(*) FROM hourly").fetchall()[0][0]
    late = db.execute("SELECT count(*) FROM late").fetchall()[0][0]
    show([("hourly", total, matched, missing, unexpected, different, twice, 0, late)])
    return db, matched == total and (missing, unexpected, different, twice) == (0, 0, 0, 0)


def load_late_flat(db, path):
    db.execute("CREATE TABLE late(id VARCHAR, window_end BIGINT)")
    if path.exists() and path.stat().st_size:
        db.execute(
            f"INSERT INTO late SELECT record.flight_id, window_end FROM read_json('{path}', format='newline_delimited', "
            "columns={window_end:'BIGINT', record:'STRUCT(flight_id VARCHAR)'})"
        )


HOUR = 3600000


def flights_in_windows(csv, outputs, window_start):
    """Flights in windows of which `window_start` is the beginning, in SQL of the time `ms`."""
    sql = (HERE / "flights.sql").read_text().replace("$csv", str(csv))
    return hourly(f"CREATE MACRO window_start(ms) AS {window_start};\n{sql}", outputs, ["origin", "w_start"])


def flights(csv, outputs):
    db, equal = flights_in_windows(csv, outputs, f"ms - ms % {HOUR}")
    wrong, total = db.execute(
        "SELECT count(*) FILTER (WHERE e.n IS DISTINCT FROM a.n), count(*) FROM "
        "(SELECT origin, scheduled_ms // 3600000 AS h, count(*) AS n FROM flights GROUP BY ALL) e FULL JOIN "
        "(SELECT origin, departed_ms // 3600000 AS h, count(*) AS n FROM flights GROUP BY ALL) a USING (origin, h)"
    ).fetchall()[0]
    stream_wrong = db.execute(
        "SELECT count(*) FROM (SELECT origin, scheduled_ms - scheduled_ms % 3600000 AS w_start, count(*) AS n FROM flights GROUP BY ALL) e "
        "FULL JOIN got_hourly g USING (origin, w_start) WHERE e.n IS DISTINCT FROM g.departures"
    ).fetchall()[0][0]
    print(f"windows wrong when counted by arrival: {wrong} of {total}; wrong in the stream's answer: {stream_wrong}")
    return equal


def flights_days(csv, outputs):
    """Days of New York's standard time, which is five hours behind UTC."""
    _, equal = flights_in_windows(csv, outputs, f"ms - (ms - {5 * HOUR}) % {24 * HOUR}")
    return equal


def flights_dates(csv, outputs):
    """Dates of New York. In 2013 its clocks were four hours behind UTC from the 10th of March, 02:00 (07:00 UTC), to the 3rd of November,
    02:00 (06:00 UTC), and five hours otherwise. DuckDB's own time zones are an extension, which would have to be fetched."""
    behind = f"CASE WHEN ms >= 1362898800000 AND ms < 1383458400000 THEN {4 * HOUR} ELSE {5 * HOUR} END"
    date = f"((ms - ({behind})) // {24 * HOUR} * {24 * HOUR})"
    # Both midnights of these two days came before clocks were set.
    start = f"{date} + CASE WHEN {date} > 1362873600000 AND {date} <= 1383436800000 THEN {4 * HOUR} ELSE {5 * HOUR} END"
    db, equal = flights_in_windows(csv, outputs, start)
    hours = db.execute(
        "WITH days AS (SELECT DISTINCT w_start FROM got_hourly), lengths AS (SELECT (lead(w_start) OVER (ORDER BY w_start) - w_start) "
        f"// {HOUR} AS hours FROM days) SELECT hours, count(*) FROM lengths WHERE hours IS NOT NULL GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    print("days by their hours:", ", ".join(f"{n} of {length}" for length, n in hours))
    return equal


def take_rate(csv, outputs):
    _, equal = hourly((HERE / "take_rate.sql").read_text().replace("$csv", str(csv)), outputs, ["position", "w_start"])
    return equal


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "dataset", choices=[*PIPELINES, *files.PIPELINES, "fates", "flights", "flights-days", "flights-dates", "take-rate"]
    )
    parser.add_argument("input", type=pathlib.Path, help="the generator's folder, or a CSV file")
    parser.add_argument("outputs", type=pathlib.Path, help="a folder with TOPIC.ndjson for each topic that the pipeline wrote")
    args = parser.parse_args()
    if args.dataset in PIPELINES:
        equal = pipeline(args.dataset, args.input / "batch", args.outputs)
    elif args.dataset in files.PIPELINES:
        equal = published(args.dataset, args.input / "batch", args.outputs)
    elif args.dataset == "fates":
        equal = fates(args.input / "truth.json", sorted(args.outputs.glob("summary*.json")))
    elif args.dataset == "flights":
        equal = flights(args.input, args.outputs)
    elif args.dataset == "flights-days":
        equal = flights_days(args.input, args.outputs)
    elif args.dataset == "flights-dates":
        equal = flights_dates(args.input, args.outputs)
    else:
        equal = take_rate(args.input, args.outputs)
    print("equal" if equal else "DIFFERENT")
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
