"""Compares what the shop's job has made with what DuckDB makes of the same clicks in one go.

Usage: batch.py CLICKS S3 SITE: the file of clicks, the URL of the bucket, and the address at which the site asks.
Prints what differs, and how many rows of each table were compared.
"""

import json
import os
import re
import sys
import tempfile
import urllib.parse
import urllib.request

import duckdb

CLOSED = "2026-01-05 20:00:00"

BATCH = {
    "visits": """
        WITH marked AS (
          SELECT *, coalesce(clicked - lag(clicked) OVER (PARTITION BY visitor ORDER BY clicked) > INTERVAL 30 MINUTE, true) AS first FROM clicks),
        numbered AS (SELECT *, sum(first::INT) OVER (PARTITION BY visitor ORDER BY clicked) AS visit FROM marked)
        SELECT visitor, min(clicked)::TEXT, (max(clicked) + INTERVAL 30 MINUTE)::TEXT, count(*), count(DISTINCT product),
          count(*) FILTER (kind = 'buy'), coalesce(sum(cents) FILTER (kind = 'buy'), 0)::BIGINT
        FROM numbered GROUP BY visitor, visit HAVING max(clicked) + INTERVAL 30 MINUTE < TIMESTAMP '{closed}'""",
    "conversion": """
        SELECT date_trunc('hour', clicked)::TEXT, category, count(DISTINCT visitor), count(DISTINCT visitor) FILTER (kind = 'buy'),
          coalesce(sum(cents) FILTER (kind = 'buy'), 0)::BIGINT
        FROM clicks WHERE clicked < TIMESTAMP '{closed}' GROUP BY ALL""",
    "recommended": """
        WITH ends AS (
          SELECT unnest(generate_series(TIMESTAMP '2026-01-05 08:00:00', TIMESTAMP '{closed}', INTERVAL 10 MINUTE)) AS until),
        seen AS (
          SELECT DISTINCT until, visitor, kind, category, product FROM clicks
          JOIN ends ON clicked < until AND clicked >= until - INTERVAL 1 HOUR),
        pairs AS (
          SELECT until, category, a.product, b.product AS other, count(*) FILTER (kind = 'see') AS seen,
            count(*) FILTER (kind = 'buy') AS bought
          FROM seen AS a JOIN seen AS b USING (until, visitor, kind, category)
          WHERE a.product <> b.product GROUP BY ALL),
        placed AS (
          SELECT *, row_number() OVER (PARTITION BY until, category, product ORDER BY 3 * bought + seen DESC, other) AS place
          FROM pairs)
        SELECT category, product, list(other ORDER BY place), sum(seen)::BIGINT, sum(bought)::BIGINT, until::TEXT
        FROM placed WHERE place <= 3 GROUP BY until, category, product""",
}

STREAMED = {
    "visits": "SELECT visitor, began::TEXT, ended::TEXT, clicks, products, bought, cents FROM {files}",
    "conversion": "SELECT began::TEXT, category, visitors, buyers, cents FROM {files}",
    "recommended": "SELECT category, product, others, seen, bought, until::TEXT FROM {files}",
}


# The server gives objects to those who sign, and checks no signature.
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=shop/20260105/us-east-1/s3/aws4_request"}


def get(url, headers={}):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return answer.read()


def hours(s3, table, directory):
    """Fetches a table's files of the hours that are complete; gives a pattern of them."""
    names = re.findall("<Key>([^<]*)</Key>", get(f"{s3}?list-type=2&prefix={table}/").decode())
    complete = {os.path.dirname(name) for name in names if name.endswith("/_SUCCESS")}
    for name in names:
        if name.endswith(".parquet") and os.path.dirname(name) in complete:
            path = os.path.join(directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(get(f"{s3}/{urllib.parse.quote(name)}", SIGNED))
    return f"read_parquet('{directory}/{table}/**/*.parquet', hive_partitioning = false)"


def compare(what, streamed, batch):
    """Says what differs between rows; gives whether nothing does."""
    key = lambda row: json.dumps(row, ensure_ascii=False)
    streamed, batch = sorted(map(key, streamed)), sorted(map(key, batch))
    for title, rows, others in [("only streamed", streamed, batch), ("only in batch", batch, streamed)]:
        for row in sorted(set(rows) - set(others))[:5]:
            print(f"{what}: {title}: {row}")
    print(f"{what}: {len(streamed)} rows, {len(batch)} in batch")
    return bool(batch) and streamed == batch


def answered(site, category):
    rows = json.loads(get(f"http://{site}/tables/recommendations?{urllib.parse.urlencode({'category': category})}"))
    newest = [row for row in rows if row["until"].startswith(CLOSED)]
    return [[row[name] for name in ("category", "product", "others", "seen", "bought")] for row in newest]


def main(clicks, s3, site):
    db = duckdb.connect()
    columns = "visitor: 'TEXT', kind: 'TEXT', product: 'TEXT', category: 'TEXT', cents: 'BIGINT', clicked_at: 'TIMESTAMP'"
    db.execute(f"CREATE TABLE clicks AS SELECT *, clicked_at AS clicked FROM read_json('{clicks}', columns = {{{columns}}})")
    same = []
    with tempfile.TemporaryDirectory() as directory:
        for table, batch in BATCH.items():
            files = hours(s3, table, directory)
            streamed = db.execute(STREAMED[table].format(files=files)).fetchall()
            same.append(compare(table, streamed, db.execute(batch.format(closed=CLOSED)).fetchall()))
    newest = [list(row[:5]) for row in db.execute(BATCH["recommended"].format(closed=CLOSED)).fetchall() if row[5] == CLOSED]
    for category in sorted({row[0] for row in newest}):
        expected = [row for row in newest if row[0] == category]
        same.append(compare(f"what is answered for {category}", answered(site, category), expected))
    sys.exit(0 if all(same) else 1)


main(*sys.argv[1:])
