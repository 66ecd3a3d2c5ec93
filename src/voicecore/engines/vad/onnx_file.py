"""Read the graph and the weights of an ONNX file, without the onnx package.

ONNX is Protocol Buffers: a message is a row of fields, each a varint key (number
and wire type) and a value. Only what an engine needs to know a network and take
its weights is read: nodes, their attributes (graphs of ``If`` among them),
initializers, and the names and shapes of inputs and outputs. Everything else is
stepped over. Field numbers are those of onnx.proto3.

Every length is checked against what is left of its message before it is used, so
a truncated, corrupt or hostile file gives :class:`OnnxError` and nothing else:
nothing recurses deeper than ``MAX_DEPTH`` graphs, and no array is larger than the
bytes that describe it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MAX_DEPTH: Final = 8
"""Graphs within graphs."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TYPES: Final[dict[int, np.dtype[Any]]] = {
    1: np.dtype("<f4"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    9: np.dtype("?"),
}
"""Element types of the tensors that are kept; others are of no use here."""

_UNKNOWN_DIM: Final = -1


class OnnxError(Exception):
    """The bytes are no ONNX file that can be read; the text says where and why."""


@dataclass(frozen=True, slots=True)
class ValueInfo:
    """An input or output of a graph.

    ``dtype`` is None for what is not kept (see ``_TYPES``); ``shape`` has -1 for a
    dimension that is open.
    """

    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. Attributes are int, float, bytes, array, :class:`Graph` or list."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the order in which they run, and what is known beforehand.

    Arrays are read-only views of the file's bytes (which live as long as they do).
    A tensor whose element type is not kept is None.
    """

    nodes: tuple[Node, ...]
    initializers: dict[str, NDArray[Any] | None] = field(repr=False)
    inputs: dict[str, ValueInfo]
    outputs: dict[str, ValueInfo]


def read_onnx(data: bytes) -> Graph:
    """The graph of the ONNX file whose bytes are ``data``.

    Raises :class:`OnnxError` for anything that is no such file.
    """
    graphs = [value for number, value in _fields(memoryview(data), "model") if number == 7]
    if len(graphs) != 1:
        raise OnnxError(f"a model has one graph, this has {len(graphs)}")
    return _graph(_message(graphs[0], "graph"), 0)


def _varint(data: memoryview, at: int, what: str) -> tuple[int, int]:
    """The unsigned value at ``at`` and the offset behind it."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise OnnxError(f"{what}: a varint has more than ten bytes")
    raise OnnxError(f"{what}: it ends within a varint")


def _fields(data: memoryview, what: str) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: an int for varints, else the bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at, what)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at, what)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at, what)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise OnnxError(f"{what}: field {number} has the unknown wire type {wire}")
        if number == 0 or length > len(data) - at:
            raise OnnxError(
                f"{what}: field {number} of {length} bytes, where {len(data) - at} are left"
            )
        yield number, data[at : at + length]
        at += length


def _message(value: int | memoryview, what: str) -> memoryview:
    if isinstance(value, int):
        raise OnnxError(f"{what}: a number where a message is wanted")
    return value


def _number(value: int | memoryview, what: str) -> int:
    if not isinstance(value, int):
        raise OnnxError(f"{what}: bytes where a number is wanted")
    return _signed(value)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(value: int | memoryview, what: str) -> str:
    try:
        return bytes(_message(value, what)).decode()
    except UnicodeDecodeError as error:
        raise OnnxError(f"{what}: a name is not UTF-8") from error


def _numbers(value: int | memoryview, what: str) -> list[int]:
    """A repeated integer field: one value, or many packed together."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at, what)
        numbers.append(_signed(number))
    return numbers


def _floats(value: int | memoryview, what: str) -> NDArray[np.float32]:
    data = _message(value, what)
    if len(data) % 4:
        raise OnnxError(f"{what}: {len(data)} bytes are no floats")
    return np.frombuffer(data, "<f4")


def _graph(data: memoryview, depth: int) -> Graph:
    if depth >= MAX_DEPTH:
        raise OnnxError(f"graphs are nested deeper than {MAX_DEPTH}")
    nodes: list[Node] = []
    initializers: dict[str, NDArray[Any] | None] = {}
    inputs: dict[str, ValueInfo] = {}
    outputs: dict[str, ValueInfo] = {}
    for number, value in _fields(data, "graph"):
        if number == 1:
            nodes.append(_node(_message(value, "node"), depth))
        elif number == 5:
            name, array = _tensor(_message(value, "initializer"))
            initializers[name] = array
        elif number in (11, 12):
            name, info = _value_info(_message(value, "value"))
            (inputs if number == 11 else outputs)[name] = info
    return Graph(tuple(nodes), initializers, inputs, outputs)


def _node(data: memoryview, depth: int) -> Node:
    op = ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: dict[str, Any] = {}
    for number, value in _fields(data, "node"):
        if number == 1:
            inputs.append(_text(value, "node input"))
        elif number == 2:
            outputs.append(_text(value, "node output"))
        elif number == 4:
            op = _text(value, "node type")
        elif number == 5:
            name, given = _attribute(_message(value, "attribute"), depth)
            attributes[name] = given
    return Node(op, tuple(inputs), tuple(outputs), attributes)


def _attribute(data: memoryview, depth: int) -> tuple[str, Any]:
    """Name and value; which of the value fields is there says what it is."""
    name = ""
    given: Any = None
    for number, value in _fields(data, "attribute"):
        if number == 1:
            name = _text(value, "attribute name")
        elif number == 2:
            given = _single(_floats(value, "attribute"))
        elif number == 3:
            given = _number(value, "attribute")
        elif number == 4:
            given = bytes(_message(value, "attribute"))
        elif number == 5:
            given = _tensor(_message(value, "attribute"))[1]
        elif number == 6:
            given = _graph(_message(value, "attribute"), depth + 1)
        elif number == 7:
            given = [*_listed(given), *_floats(value, "attribute").tolist()]
        elif number == 8:
            given = [*_listed(given), *_numbers(value, "attribute")]
    return name, given


def _listed(given: Any) -> list[Any]:
    """What a list has so far: it may come in parts."""
    if given is None:
        return []
    if not isinstance(given, list):
        raise OnnxError("attribute: a list and a single value at once")
    return given


def _single(values: NDArray[np.float32]) -> float:
    if len(values) != 1:
        raise OnnxError(f"attribute: {len(values)} floats where one is wanted")
    return float(values[0])


def _tensor(data: memoryview) -> tuple[str, NDArray[Any] | None]:
    name, kind, raw = "", 0, None
    dims: list[int] = []
    floats: list[NDArray[np.float32]] = []
    integers: list[int] = []
    for number, value in _fields(data, "tensor"):
        if number == 1:
            dims += _numbers(value, "tensor shape")
        elif number == 2:
            kind = _number(value, "tensor type")
        elif number == 4:
            floats.append(_floats(value, "tensor"))
        elif number in (5, 7):
            integers += _numbers(value, "tensor")
        elif number == 8:
            name = _text(value, "tensor name")
        elif number == 9:
            raw = _message(value, "tensor")
        elif number == 14 and value != 0:
            raise OnnxError("tensor: its data lie in another file")
    dtype = _TYPES.get(kind)
    if dtype is None:
        return name, None
    if raw is not None:
        if len(raw) % dtype.itemsize:
            raise OnnxError(f"tensor {name!r}: {len(raw)} bytes are no {dtype} values")
        flat: NDArray[Any] = np.frombuffer(raw, dtype)
    elif kind == 1:
        flat = np.concatenate(floats) if floats else np.zeros(0, dtype)
    else:
        flat = _integers(integers, dtype, name)
    return name, _shaped(flat, dims, name)


def _integers(values: list[int], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    try:
        return np.array(values, np.int64).astype(dtype)
    except OverflowError as error:
        raise OnnxError(f"tensor {name!r}: a value does not fit 64 bits") from error


def _shaped(flat: NDArray[Any], dims: list[int], name: str) -> NDArray[Any]:
    # More dimensions than NumPy can hold, or a size that wraps, end here too.
    if any(dim < 0 for dim in dims) or math.prod(dims) != len(flat) or len(dims) > 16:
        raise OnnxError(f"tensor {name!r}: {len(flat)} values can't have the shape {dims}")
    return flat.reshape(dims)


def _value_info(data: memoryview) -> tuple[str, ValueInfo]:
    name = ""
    info = ValueInfo(None, ())
    for number, value in _fields(data, "value"):
        if number == 1:
            name = _text(value, "value name")
        elif number == 2:
            for kind, inner in _fields(_message(value, "type"), "type"):
                if kind == 1:
                    info = _tensor_type(_message(inner, "type"))
    return name, info


def _tensor_type(data: memoryview) -> ValueInfo:
    dtype = None
    shape: list[int] = []
    for number, value in _fields(data, "tensor type"):
        if number == 1:
            dtype = _TYPES.get(_number(value, "tensor type"))
        elif number == 2:
            for kind, dim in _fields(_message(value, "shape"), "shape"):
                if kind == 1:
                    shape.append(_dim(_message(dim, "dimension")))
    return ValueInfo(dtype, tuple(shape))


def _dim(data: memoryview) -> int:
    for number, value in _fields(data, "dimension"):
        if number == 1:
            return _number(value, "dimension")
    return _UNKNOWN_DIM
