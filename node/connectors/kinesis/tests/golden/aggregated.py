#!/usr/bin/env python3
"""Makes aggregated.json: records that AWS's own library for Python packs, with what it was given.

    pip install 'aws-kinesis-agg==1.2.3'
    python3 aggregated.py >aggregated.json

Each case names the records (partition key, explicit hash key or null, data in base64), and what the library made of them: partition key, explicit
hash key, and data in base64.
"""

import base64
import json

from aws_kinesis_agg.aggregator import RecordAggregator

CASES = {
    "two records of one key": [("user-1", None, b"first"), ("user-1", None, b"second")],
    "explicit hash keys": [("a", "0", b"low"), ("b", "340282366920938463463374607431768211455", b"high"), ("a", "0", b"low again")],
    "some with explicit hash keys": [("a", None, b"1"), ("b", "170141183460469231731687303715884105728", b"2"), ("c", None, b"3")],
    "no data": [("a", None, b""), ("b", None, b"")],
    "keys beyond ascii": [("schlüssel", None, b"1"), ("鍵", None, "値".encode())],
    "longer data": [("k", None, bytes(range(256)) * 8), ("k", None, b"\xf3\x89\x9a\xc2 begins like one that is packed")],
    "more keys than one byte counts": [(f"key-{n}", None, b"value %d" % n) for n in range(300)],
}


def packed(records):
    aggregator = RecordAggregator()
    for key, hash_key, data in records:
        assert aggregator.add_user_record(key, data, hash_key) is None
    whole_key, whole_hash_key, whole_data = aggregator.clear_and_get().get_contents()
    return {
        "records": [
            {"partition_key": key, "explicit_hash_key": hash_key, "data": base64.b64encode(data).decode()}
            for key, hash_key, data in records
        ],
        "partition_key": whole_key,
        "explicit_hash_key": whole_hash_key,
        "data": base64.b64encode(whole_data).decode(),
    }


print(json.dumps({name: packed(records) for name, records in CASES.items()}, indent=1, ensure_ascii=False))
