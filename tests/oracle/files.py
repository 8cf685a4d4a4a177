"""Holds files that a pipeline published against the batch recomputation, read by DuckDB and once more by pyarrow.

A row must be in exactly one file, in the folder of its hour, and every folder complete. Prints and ends as oracle.py does.
"""

import pathlib

import pyarrow.dataset

# pipeline: (SQL, {dataset: (folder, the SQL of what is in it, its key, and the field with the event time)})
PIPELINES = {
    "training-rows": ("personalization.sql", {
        "impressions": (
            "impressions",
            'SELECT event_id, event_ts, profile_id, title_id, country, device, "row", row_type, position, algo FROM imp',
            ["event_id"], "event_ts",
        ),
        "discoveries": ("discoveries", "SELECT * FROM d1", ["playback_id"], "play_ts"),
    }),
    "labelled-impressions": ("labelled_impressions.sql", {
        "d9": ("training_rows", "SELECT * FROM training_rows", ["imp_id"], "event_ts"),
    }),
}


def found(db, name, folder, ending, columns):
    """All rows below `folder`, as a reader with a glob finds them, with the hour that their folder says."""
    glob = folder / f"dt=*/hr=*/*.{ending}"
    options = "hive_partitioning = true, hive_types = {dt: VARCHAR, hr: VARCHAR}, filename = true"
    if ending == "parquet":
        read = f"read_parquet('{glob}', {options})"
    else:
        typed = ", ".join(f"\"{column}\": '{kind}'" for column, kind in columns.items())
        read = f"read_json('{glob}', format = 'newline_delimited', {options}, columns = {{{typed}}})"
    listed = ", ".join(f'"{column}"' for column in columns)
    db.execute(f"CREATE TABLE files_{name} AS SELECT {listed}, dt, hr, filename FROM {read}")
    db.execute(f"CREATE VIEW got_{name} AS SELECT {listed} FROM files_{name}")


def same_in_pyarrow(db, name, folder, ending, time):
    """Another reader finds the same rows: their number and the sum of their event times."""
    dataset = pyarrow.dataset.dataset(folder, format="json" if ending == "ndjson" else ending, partitioning="hive")
    table = dataset.to_table(columns=[time])
    total = sum(value.as_py() for value in table.column(time)) if table.num_rows else 0
    expected = db.execute(f'SELECT count(*), coalesce(sum("{time}"), 0) FROM got_{name}').fetchall()[0]
    return (table.num_rows, total) == (expected[0], int(expected[1]))


def judge(db, compare, out, sinks):
    """Whether the folders in `out` hold what the tables of `db` say. Shows a table."""
    print(f"{'dataset':<14}{'rows':>9}{'matched':>9}{'missing':>9}{'unexpected':>12}{'different':>11}{'twice':>7}{'misplaced':>11}"
          f"{'files':>7}{'folders':>9}{'open':>6}{'left':>6}{'pyarrow':>9}")
    equal = True
    for name, (folder, sql, keys, time) in sinks.items():
        folder = pathlib.Path(out) / folder
        ending = "ndjson" if list(folder.glob("dt=*/hr=*/*.ndjson")) else "parquet"
        db.execute(f"CREATE VIEW {name} AS {sql}")
        kinds = {row[0]: "BIGINT" if row[1] in ("HUGEINT", "INTEGER") else row[1] for row in db.execute(f"DESCRIBE {name}").fetchall()}
        found(db, name, folder, ending, kinds)
        matched, missing, unexpected, different, twice = compare(db, name, keys)
        count = lambda sql: db.execute(sql).fetchall()[0][0]
        total = count(f"SELECT count(*) FROM {name}")
        misplaced = count(
            f"SELECT count(*) FROM files_{name} WHERE dt <> strftime(make_timestamp(\"{time}\" * 1000), '%Y-%m-%d') "
            f"OR hr <> strftime(make_timestamp(\"{time}\" * 1000), '%H')")
        files = len(list(folder.glob(f"dt=*/hr=*/*.{ending}")))
        folders = [hour for hour in folder.glob("dt=*/hr=*")]
        not_complete = sum(not (hour / "_SUCCESS").exists() for hour in folders)
        left = sum(path.is_file() for path in (folder / "_reel/staging").rglob("*"))
        agrees = same_in_pyarrow(db, name, folder, ending, time)
        print(f"{name:<14}{total:>9}{matched:>9}{missing:>9}{unexpected:>12}{different:>11}{twice:>7}{misplaced:>11}"
              f"{files:>7}{len(folders):>9}{not_complete:>6}{left:>6}{'same' if agrees else 'OTHER':>9}")
        equal &= (missing, unexpected, different, twice, misplaced, not_complete, left) == (0,) * 7
        equal &= matched == total and total > 0 and agrees
    return equal
