"""What boto3 does with a stream, for a measurement.

Usage: boto.py ENDPOINT STREAM create SHARDS | delete | put RECORDS BYTES | get RECORDS
`put` and `get` print the seconds and the seconds of processor time that they took, as JSON.
"""

import json
import resource
import sys
import time

import boto3
from botocore.config import Config

endpoint, stream, what, *numbers = sys.argv[1:]
numbers = [int(number) for number in numbers]
client = boto3.client(
    "kinesis", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="bench", aws_secret_access_key="bench",
    config=Config(retries={"max_attempts": 10}),
)


def processor_time():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def put(count, length):
    payload = "x" * length
    for first in range(0, count, 500):
        entries = [
            {"Data": json.dumps({"id": number, "payload": payload}).encode(), "PartitionKey": str(number)}
            for number in range(first, min(first + 500, count))
        ]
        while entries:
            answer = client.put_records(StreamName=stream, Records=entries)
            entries = [entry for entry, result in zip(entries, answer["Records"]) if "ErrorCode" in result]


def get(count):
    shards = client.list_shards(StreamName=stream)["Shards"]
    iterators = [
        client.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        for shard in shards
    ]
    read = 0
    while read < count:
        for place, iterator in enumerate(iterators):
            page = client.get_records(ShardIterator=iterator, Limit=10_000)
            read += sum(1 for record in page["Records"] if json.loads(record["Data"])["id"] >= 0)
            iterators[place] = page["NextShardIterator"]


if what == "create":
    client.create_stream(StreamName=stream, ShardCount=numbers[0])
    client.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
elif what == "delete":
    client.delete_stream(StreamName=stream)
else:
    began, before = time.monotonic(), processor_time()
    {"put": put, "get": get}[what](*numbers)
    print(json.dumps({"seconds": time.monotonic() - began, "cpu_seconds": processor_time() - before}))
