"""Puts records by boto3, AWS's SDK for Python: put.py ENDPOINT STREAM AGGREGATED

AGGREGATED is a file of records that AWS's own library for the KPL's format has packed (node/connectors/kinesis/tests/golden). Prints what a reader has
to find, as lines of JSON: partition key, explicit hash key, place in an aggregated record, and data in hexadecimal digits.
"""

import base64
import json
import sys

import boto3
from botocore.config import Config

endpoint, stream, aggregated = sys.argv[1:]
kinesis = boto3.client(
    "kinesis",
    endpoint_url=endpoint,
    region_name="us-east-1",
    aws_access_key_id="local",
    aws_secret_access_key="local",
    config=Config(proxies={}),
)


def expect(key, hash_key, place, data):
    print(json.dumps({"k": key, "h": hash_key, "sub": place, "data": data.hex()}))


kinesis.put_record(StreamName=stream, PartitionKey="alone", Data=b"one")
expect("alone", None, 0, b"one")

batch = [("schlüssel", "größe".encode()), ("bytes", bytes(range(256)))]
answer = kinesis.put_records(StreamName=stream, Records=[{"PartitionKey": key, "Data": data} for key, data in batch])
assert answer["FailedRecordCount"] == 0, answer
for key, data in batch:
    expect(key, None, 0, data)

with open(aggregated, encoding="utf-8") as cases:
    for packed in json.load(cases).values():
        hash_key = {"ExplicitHashKey": packed["explicit_hash_key"]} if packed["explicit_hash_key"] else {}
        whole = base64.b64decode(packed["data"])
        kinesis.put_record(StreamName=stream, PartitionKey=packed["partition_key"], Data=whole, **hash_key)
        for place, record in enumerate(packed["records"]):
            expect(record["partition_key"], record["explicit_hash_key"], place, base64.b64decode(record["data"]))
