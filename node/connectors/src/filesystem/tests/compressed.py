"""Compressed files of lines, by other libraries than this engine's.

    python compressed.py write gzip|zstd|snappy PATH   writes {"a":0} to {"a":39999}, a line each, in two pieces
    python compressed.py read gzip|zstd|snappy PATH    prints what is in a file

Needs cramjam and, before Python 3.14, backports.zstd. gzip is Python's own, which is zlib.
"""

import gzip
import sys

import cramjam

try:
    from compression import zstd
except ImportError:
    from backports import zstd

COMPRESS = {
    "gzip": gzip.compress,
    "zstd": lambda text: zstd.compress(text, options={zstd.CompressionParameter.checksum_flag: 1}),
    "snappy": lambda text: bytes(cramjam.snappy.compress(text)),
}
DECOMPRESS = {
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
    "snappy": lambda data: bytes(cramjam.snappy.decompress(data)),
}

action, name, path = sys.argv[1:]
if action == "write":
    lines = [b'{"a":%d}\n' % row for row in range(40000)]
    # The second piece begins in the middle of a line.
    text = b"".join(lines)
    with open(path, "wb") as file:
        for piece in (text[:100001], text[100001:]):
            file.write(COMPRESS[name](piece))
else:
    with open(path, "rb") as file:
        sys.stdout.buffer.write(DECOMPRESS[name](file.read()))
