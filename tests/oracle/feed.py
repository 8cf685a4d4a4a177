"""Turns a CSV file of real data into lines for `reel topic write`, in the order of the file."""

import json
import sys

import duckdb

SQL = {
    "flights": """
        SELECT carrier || '-' || flight || '-' || origin || '-' || dest || '-' || scheduled_min AS flight_id, origin,
               scheduled_min * 60000 AS scheduled_ms, (scheduled_min + delay_min) * 60000 AS departed_ms, delay_min AS dep_delay
        FROM read_csv('$csv', header = true)""",
    "take-rate": """
        SELECT epoch_ms("timestamp"::TIMESTAMPTZ) AS event_ts, position, click FROM read_csv('$csv', header = true)""",
}


def main():
    kind, csv = sys.argv[1:3]
    db = duckdb.connect()
    db.execute("SET threads = 1")
    result = db.execute(SQL[kind].replace("$csv", csv))
    names = [column[0] for column in result.description]
    while rows := result.fetchmany(10_000):
        sys.stdout.write("".join(json.dumps(dict(zip(names, row)), separators=(",", ":")) + "\n" for row in rows))


if __name__ == "__main__":
    main()
