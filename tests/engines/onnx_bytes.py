"""Writes the few fields of an ONNX file that tests need, by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def part(field: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name: str, array: NDArray[np.generic], kind: int) -> bytes:
    dims = b"".join(number(1, dim) for dim in array.shape)
    return dims + number(2, kind) + part(8, name) + part(9, array.tobytes())


def attribute(name: str, value: bytes) -> bytes:
    return part(1, name) + value


def node(op: str, inputs: list[str], outputs: list[str], *attributes: bytes) -> bytes:
    names = [part(1, name) for name in inputs] + [part(2, name) for name in outputs]
    return b"".join([*names, part(4, op), *(part(5, given) for given in attributes)])


def value(name: str, kind: int, shape: list[int | str]) -> bytes:
    dims = b"".join(
        part(1, number(1, dim) if isinstance(dim, int) else part(2, dim)) for dim in shape
    )
    return part(1, name) + part(2, part(1, number(1, kind) + part(2, dims)))


def graph(nodes: list[bytes], initializers: list[bytes], inputs: list[bytes]) -> bytes:
    return b"".join(
        part(field, data)
        for field, parts in ((1, nodes), (5, initializers), (11, inputs))
        for data in parts
    )


def model(graph_bytes: bytes) -> bytes:
    return number(1, 8) + part(2, "a test") + part(7, graph_bytes)
