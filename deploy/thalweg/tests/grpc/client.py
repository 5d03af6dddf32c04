"""A client that knows a cluster by what its coordinators tell of themselves: no file of ours is read, but to compare.

client.py HOST:PORT PROTO_DIRECTORY: submits jobs, follows them and reads rows. Fails where an answer is not what the API says.
"""

import collections
import importlib
import sys
import tempfile
import threading

import grpc
import pyarrow
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

ROWS = 2000
NUMBERS = f"""
    CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{ROWS}', 'rows-per-second' = '1000',
      'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{ROWS}');
    SELECT n, n * 2 AS doubled FROM numbers;
"""
ENDLESS = """
    CREATE TABLE letters (w STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
    CREATE TABLE nowhere (w STRING) WITH ('connector' = 'blackhole');
    INSERT INTO nowhere SELECT w FROM letters;
"""
FINAL = {"finished", "cancelled", "stopped", "failed"}


class Service:
    """A service, with a method for each of its calls."""

    def __init__(self, channel, pool, name):
        for call in pool.FindServiceByName(name).methods:
            request = message_factory.GetMessageClass(call.input_type)
            answer = message_factory.GetMessageClass(call.output_type)
            kind = channel.unary_stream if call.server_streaming else channel.unary_unary
            path = f"/{name}/{call.name}"
            sent = kind(path, request_serializer=request.SerializeToString, response_deserializer=answer.FromString)
            setattr(self, call.name, lambda sent=sent, request=request, **fields: sent(request(**fields), timeout=60))


def services_by(channel, version):
    """The services that a version of reflection lists. Both have the same messages."""
    ask = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    answers = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=60)
    return {service.name for answer in answers for service in answer.list_services_response.service}


def fails(code, call, **fields):
    try:
        answer = call(**fields)
    except grpc.RpcError as error:
        assert error.code() == code, error
        assert error.details(), "it says what is wrong"
    else:
        raise AssertionError(f"{fields} is answered: {answer}")


def rows_of(cluster, job, query):
    """The rows of a query. Whoever asks for more acknowledges those before."""
    offset, batches = 0, []
    while True:
        answer = cluster.FetchRows(job=job, query=query, offset=offset, max_bytes=1 << 20, wait_ms=1000)
        if answer.rows:
            assert answer.offset == offset, (answer.offset, offset)
            with pyarrow.ipc.open_stream(answer.batches) as stream:
                batches.extend(stream)
            offset += answer.rows
        if answer.end:
            cluster.FetchRows(job=job, query=query, offset=offset, max_bytes=1 << 20)
            return batches


def runs_to_its_end(cluster):
    request = {"request_id": "python-1", "name": "numbers", "sql": NUMBERS, "settings": {"checkpoint.interval": "200 ms"}}
    submitted = cluster.SubmitJob(**request)
    assert cluster.SubmitJob(**request).job == submitted.job, "a repeated request is the same job"
    told = []
    follow = threading.Thread(target=lambda: told.extend(cluster.WatchJob(job=submitted.job)))
    follow.start()
    [query] = submitted.queries
    table = pyarrow.Table.from_batches(rows_of(cluster, submitted.job, query.query))
    assert table.schema == pyarrow.ipc.read_schema(pyarrow.py_buffer(query.schema)), table.schema
    assert sorted(table["n"].to_pylist()) == list(range(1, ROWS + 1))
    assert all(row["doubled"] == 2 * row["n"] for row in table.to_pylist())
    follow.join()
    statuses = [change.job.status for change in told]
    assert statuses[-1] == "finished" and not FINAL & set(statuses[:-1]), statuses
    assert [change.revision for change in told] == sorted({change.revision for change in told}), told
    job = cluster.GetJob(job=submitted.job).job
    assert (job.name, job.status, job.attempt) == ("numbers", "finished", 1), job
    assert sum(of.metrics.records_in for of in job.subtasks if of.is_source) == ROWS, job.subtasks


def is_cancelled(cluster):
    job = cluster.SubmitJob(request_id="python-2", sql=ENDLESS).job
    statuses = []
    for change in cluster.WatchJob(job=job):
        statuses.append(change.job.status)
        if change.job.status == "running":
            cluster.EndJob(job=job)
    assert statuses[-2:] == ["running", "cancelled"], statuses
    cluster.EndJob(job=job)
    fails(grpc.StatusCode.FAILED_PRECONDITION, cluster.EndJob, job=job, drain=True)
    fails(grpc.StatusCode.FAILED_PRECONDITION, cluster.RestartJob, job=job, request_id="python-3")
    assert collections.Counter(job.status for job in cluster.ListJobs().jobs) == {"finished": 1, "cancelled": 1}
    cluster.ForgetJob(job=job)
    fails(grpc.StatusCode.NOT_FOUND, cluster.ForgetJob, job=job)


def refuses(cluster):
    for call in [cluster.GetJob, cluster.EndJob, cluster.ListCheckpoints, cluster.FetchRows]:
        fails(grpc.StatusCode.NOT_FOUND, call, job=99)
    fails(grpc.StatusCode.NOT_FOUND, lambda **fields: list(cluster.WatchJob(**fields)), job=99)
    for sql in ["SELEKT 1", "SHOW TABLES", "SELECT n FROM nothing", "-- " + "x" * (1 << 20)]:
        fails(grpc.StatusCode.INVALID_ARGUMENT, cluster.SubmitJob, request_id="python-4", sql=sql)
    fails(grpc.StatusCode.INVALID_ARGUMENT, cluster.SubmitJob, sql=ENDLESS)
    fails(grpc.StatusCode.INVALID_ARGUMENT, cluster.EndJob, job=1, drain=True, abandon=True)
    fails(grpc.StatusCode.OUT_OF_RANGE, cluster.Explain, sql=" " * (3 << 20))
    fails(grpc.StatusCode.INVALID_ARGUMENT, cluster.ChangeMembers)


def by_generated_stubs(channel, protos):
    """As most programs do it: by code that is generated from our files."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as out:
        arguments = [f"-I{protos}", f"--python_out={out}", f"--grpc_python_out={out}", "thalweg/v1/client.proto"]
        assert protoc.main(["protoc", *arguments]) == 0
        sys.path.insert(0, out)
        messages = importlib.import_module("thalweg.v1.client_pb2")
        stubs = importlib.import_module("thalweg.v1.client_pb2_grpc")
    cluster = stubs.ClusterStub(channel).DescribeCluster(messages.DescribeClusterRequest(), timeout=60)
    assert cluster.leader == 1 and cluster.members[0].voter, cluster


def main(address, protos):
    with grpc.insecure_channel(address) as channel:
        listed = services_by(channel, "v1")
        assert {"thalweg.v1.Cluster", "grpc.health.v1.Health"} <= listed, listed
        assert services_by(channel, "v1alpha") & listed == listed - {"grpc.reflection.v1.ServerReflection"}
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        cluster = Service(channel, pool, "thalweg.v1.Cluster")
        health = Service(channel, pool, "grpc.health.v1.Health")
        serving = pool.FindMessageTypeByName("grpc.health.v1.HealthCheckResponse").enum_values_by_name["SERVING"].number
        for service in ["", "thalweg.v1.Cluster"]:
            assert health.Check(service=service).status == serving
        assert [node.state for node in cluster.ListNodes().nodes] == ["alive"]
        runs_to_its_end(cluster)
        is_cancelled(cluster)
        refuses(cluster)
        by_generated_stubs(channel, protos)


main(*sys.argv[1:])
