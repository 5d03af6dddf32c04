"""Golden files of Avro and Protobuf, written by fastavro and Google's protobuf; and a reader of what this engine writes.

    python formats.py make                       writes the files beside this one anew
    python formats.py read avro|file|protobuf PATH   prints what is in a file, as lines of this engine's JSON

Needs fastavro, cramjam, backports.zstd and protobuf; `make` also needs grpcio-tools, which has protoc.
Messages stand in a file one behind the other, each with its length in four bytes before it, the highest first.
"""

import base64
import datetime
import decimal
import io
import json
import os
import struct
import sys
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
CODECS = ["null", "deflate", "snappy", "zstandard"]
decimal.getcontext().prec = 60
UTC = datetime.timezone.utc
FLOAT_MAX = 3.4028234663852886e38


def path(name):
    return os.path.join(HERE, name)


# How values of columns are written in this engine's JSON.


def text(value):
    return json.dumps(value, ensure_ascii=False)


def number(value):
    return str(value)


def boolean(value):
    return "true" if value else "false"


def double(value):
    if value != value:
        return '"NaN"'
    if value in (float("inf"), float("-inf")):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    return repr(value).replace("e+", "e")


def single(value):
    # The shortest digits that give the same float of 32 bits.
    for digits in range(1, 10):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack("<f", short) == struct.pack("<f", value):
                return double(short)
        except OverflowError:
            continue
    return double(value)


def binary(value):
    return text(base64.b64encode(value).decode())


def decimal_of(scale):
    return lambda value: format(value.quantize(decimal.Decimal(1).scaleb(-scale)), "f")


def day(value):
    return text(value.isoformat())


def time(value):
    return text(value.strftime("%H:%M:%S.%f") + "000")


def timestamp(digits):
    def write(value):
        plain = value.replace(tzinfo=None).isoformat(" ", "microseconds")
        return text(plain if digits == 6 else plain[: digits - 6])

    return write


def row(columns):
    def write(value):
        members = [f"{text(name)}:{nullable(of)(value.get(name))}" for name, of in columns]
        return "{" + ",".join(members) + "}"

    return write


def array(item):
    return lambda value: "[" + ",".join(nullable(item)(one) for one in value) + "]"


def mapping(item):
    def write(value):
        members = [f"{text(str(key))}:{nullable(item)(value[key])}" for key in sorted(value)]
        return "{" + ",".join(members) + "}"

    return write


def nullable(of):
    return lambda value: "null" if value is None else of(value)


def lines(columns, rows):
    return "".join(row(columns)(one) + "\n" for one in rows)


# Avro.

ITEM = [("sku", text), ("count", number)]
AVRO = [
    ("id", number),
    ("small", number),
    ("ok", boolean),
    ("f", single),
    ("d", double),
    ("name", text),
    ("note", text),
    ("data", binary),
    ("tag", binary),
    ("status", text),
    ("price", decimal_of(10)),
    ("fee", decimal_of(2)),
    ("day", day),
    ("at_ms", time),
    ("at_us", time),
    ("ts_ms", timestamp(3)),
    ("ts_us", timestamp(6)),
    ("lts", timestamp(6)),
    ("uuid", lambda value: text(str(value))),
    ("items", array(row(ITEM))),
    ("attrs", mapping(number)),
    ("extra", row(ITEM)),
]


def avro_rows():
    D = decimal.Decimal
    plain = {
        "id": 1,
        "small": 2,
        "ok": True,
        "skipped": [{"a": 1.5, "b": "x"}, {}],
        "f": 0.5,
        "d": 0.1,
        "name": "Zoë 😀 \"q\" \n",
        "note": "n",
        "data": b"\x00\xff",
        "tag": b"abcd",
        "status": "PAID",
        "price": D("12.3456789012"),
        "fee": D("-0.01"),
        "day": datetime.date(2026, 1, 31),
        "at_ms": datetime.time(23, 59, 59, 999000),
        "at_us": datetime.time(0, 0, 0, 1),
        "ts_ms": datetime.datetime(2026, 1, 1, 0, 0, 0, 123000, UTC),
        "ts_us": datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
        "lts": datetime.datetime(2026, 1, 1, 12, 0, 0, 1),
        "uuid": uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"),
        "items": [{"sku": "a", "count": 1}, {"sku": "", "count": None}],
        "attrs": {"k": 1, "ä": -1},
        "extra": {"sku": "e", "count": 7},
        "next": None,
    }
    least = dict(
        plain,
        id=-(2**63),
        small=-(2**15),
        ok=False,
        skipped=None,
        f=-FLOAT_MAX,
        d=-1.7976931348623157e308,
        name="",
        note=None,
        data=b"",
        tag=b"\x00\x00\x00\x00",
        status="NEW",
        price=D("-9999999999999999999999999999.9999999999"),
        fee=D("-99999999.99"),
        day=datetime.date(1, 1, 1),
        at_ms=datetime.time(0, 0, 0),
        at_us=datetime.time(0, 0, 0),
        ts_ms=datetime.datetime(1, 1, 1, 0, 0, 0, 0, UTC),
        ts_us=None,
        lts=datetime.datetime(1, 1, 1),
        items=[],
        attrs={},
        extra=None,
    )
    most = dict(
        plain,
        id=2**63 - 1,
        small=2**15 - 1,
        f=float("inf"),
        d=float("nan"),
        name="x" * 1000,
        data=bytes(range(256)),
        tag=b"\xff\xff\xff\xff",
        status="SENT",
        price=D("9999999999999999999999999999.9999999999"),
        fee=None,
        day=datetime.date(9999, 12, 31),
        at_us=datetime.time(23, 59, 59, 999999),
        ts_ms=datetime.datetime(9999, 12, 31, 23, 59, 59, 999000, UTC),
        lts=datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
        items=[{"sku": str(at), "count": at} for at in range(100)],
        attrs={f"k{at:03}": at for at in range(100)},
        next=dict(plain, next=dict(least)),
    )
    return [plain, least, most]


def avro_schema():
    import fastavro

    with open(path("order.avsc")) as file:
        return fastavro.parse_schema(json.load(file))


# Protobuf.


def protobuf_type(name):
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    files = descriptor_pb2.FileDescriptorSet()
    with open(path("order.desc"), "rb") as file:
        files.ParseFromString(file.read())
    pool = descriptor_pool.DescriptorPool()
    for one in files.file:
        pool.Add(one)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


PROTOBUF = [
    ("id", number),
    ("i32", number),
    ("s32", number),
    ("s64", number),
    ("u32", number),
    ("u64", number),
    ("f32", number),
    ("f64", number),
    ("sf32", number),
    ("sf64", number),
    ("f", single),
    ("d", double),
    ("ok", boolean),
    ("name", text),
    ("note", text),
    ("data", binary),
    ("status", text),
    ("status_number", number),
    ("at", timestamp(6)),
    ("wrapped", number),
    ("numbers", array(number)),
    ("unpacked", array(number)),
    ("items", array(row(ITEM))),
    ("attrs", mapping(number)),
    ("by_number", mapping(row(ITEM))),
    ("word", text),
    ("number", number),
    ("extra", row(ITEM)),
    ("price", decimal_of(2)),
]


def protobuf_messages():
    Order = protobuf_type("shop.Order")
    plain = Order(
        id=1, i32=-2, s32=-3, s64=-4, u32=5, u64=6, f32=7, f64=8, sf32=-9, sf64=-10, f=0.5, d=0.1, ok=True,
        name="Zoë 😀 \"q\" \n", note="n", data=b"\x00\xff", status=1, status_number=2, numbers=[1, -2, 3],
        unpacked=[4, -5], word="w", skipped="s", price="12.34",
    )
    plain.at.FromDatetime(datetime.datetime(2026, 1, 1, 0, 0, 0, 123456))
    plain.wrapped.value = 0
    plain.items.add(sku="a", count=0)
    plain.items.add()
    plain.attrs["k"] = 1
    plain.attrs["ä"] = -1
    plain.by_number[2].sku = "two"
    plain.by_number[1].count = 1
    plain.extra.sku = "e"
    plain.next.next.id = 3
    least = Order(
        id=-(2**63), i32=-(2**31), s32=-(2**31), s64=-(2**63), sf32=-(2**31), sf64=-(2**63),
        f=-FLOAT_MAX, d=-1.7976931348623157e308, note="", number=0, price="-99999999.99",
    )
    least.at.FromDatetime(datetime.datetime(1969, 12, 31, 23, 59, 59, 999999))
    most = Order(
        id=2**63 - 1, i32=2**31 - 1, s32=2**31 - 1, s64=2**63 - 1, u32=2**32 - 1, u64=2**64 - 1, f32=2**32 - 1,
        f64=2**64 - 1, sf32=2**31 - 1, sf64=2**63 - 1, f=float("inf"), d=float("nan"), name="x" * 1000,
        data=bytes(range(256)), status=7, numbers=range(200), unpacked=range(200), price="0",
    )
    return [plain, Order(price="0"), least, most]


def protobuf_row(message):
    Item = lambda item: {"sku": item.sku, "count": item.count if item.HasField("count") else None}
    status = lambda value: message.DESCRIPTOR.file.enum_types_by_name["Status"].values_by_number.get(value)
    has = lambda name, of=lambda value: value: of(getattr(message, name)) if message.HasField(name) else None
    fields = {name: getattr(message, name) for name, _ in PROTOBUF}
    fields.update(
        note=has("note"),
        word=has("word"),
        number=has("number"),
        status=status(message.status).name if status(message.status) else str(message.status),
        at=has("at", lambda at: at.ToDatetime()),
        wrapped=has("wrapped", lambda wrapped: wrapped.value),
        items=[Item(item) for item in message.items],
        by_number={key: Item(item) for key, item in message.by_number.items()},
        extra=has("extra", Item),
        price=decimal.Decimal(message.price),
    )
    return fields


# Files of messages.


def pack(messages):
    return b"".join(struct.pack(">I", len(message)) + message for message in messages)


def unpack(data):
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 4 + length]
        at += 4 + length


def put(name, content):
    with open(path(name), "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def make():
    import fastavro
    from grpc_tools import protoc

    schema, rows = avro_schema(), avro_rows()
    messages = []
    for one in rows:
        into = io.BytesIO()
        fastavro.schemaless_writer(into, schema, one)
        messages.append(into.getvalue())
    put("avro.messages", pack(messages))
    put("avro.json", lines(AVRO, rows))
    for codec in CODECS:
        into = io.BytesIO()
        # Small blocks, so that there are several.
        fastavro.writer(into, schema, rows * 3, codec=codec, sync_interval=4000, sync_marker=bytes(range(16)))
        put(f"{codec}.avro", into.getvalue())
    include = os.path.join(os.path.dirname(protoc.__file__), "_proto")
    arguments = ["protoc", f"-I{HERE}", f"-I{include}", "--include_imports", f"--descriptor_set_out={path('order.desc')}"]
    if protoc.main(arguments + [path("order.proto")]) != 0:
        raise SystemExit("protoc failed")
    orders = protobuf_messages()
    put("protobuf.messages", pack(order.SerializeToString(deterministic=True) for order in orders))
    put("protobuf.json", lines(PROTOBUF, [protobuf_row(order) for order in orders]))


def read(kind, name):
    with open(name, "rb") as file:
        data = file.read()
    if kind == "protobuf":
        Order = protobuf_type("shop.Order")
        return lines(PROTOBUF, [protobuf_row(Order.FromString(message)) for message in unpack(data)])
    import fastavro

    if kind == "file":
        return lines(AVRO, fastavro.reader(io.BytesIO(data)))
    schema = avro_schema()
    return lines(AVRO, [fastavro.schemaless_reader(io.BytesIO(message), schema) for message in unpack(data)])


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make()
    else:
        sys.stdout.reconfigure(encoding="utf-8")
        sys.stdout.write(read(sys.argv[2], sys.argv[3]))
