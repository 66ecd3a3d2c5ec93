"""The reader of ONNX files: what is in them, and whatever else bytes can be."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import numpy as np
import pytest

from engines import onnx_bytes as b
from voicecore.engines.vad.model_file import find_model
from voicecore.engines.vad.onnx_file import MAX_DEPTH, Graph, OnnxError, read_onnx
from voicecore.errors import MissingLibraryError

WEIGHTS = np.arange(6, dtype="<f4").reshape(2, 3)
INDEX = np.array([3, -1], "<i8")


def small() -> bytes:
    """A graph with an initializer, constants of both kinds, and an If with one branch."""
    inner = b.graph(
        [b.node("Identity", ["x"], ["y"]), b.node("Relu", ["y"], ["z"])],
        [b.tensor("inner", INDEX, 7)],
        [],
    )
    ints = b"".join(b.number(8, v) for v in (1, -2)) + b.part(8, b.varint(3) + b.varint(4))
    nodes = [
        b.node("Constant", [], ["c"], b.attribute("value", b.part(5, b.tensor("", WEIGHTS, 1)))),
        b.node(
            "Conv",
            ["x", "c"],
            ["y"],
            b.attribute("strides", ints),
            b.attribute("group", b.number(3, -1)),
            b.attribute("alpha", b.varint(2 << 3 | 5) + np.float32(0.5).tobytes()),
            b.attribute("mode", b.part(4, "reflect")),
        ),
        b.node("If", ["y"], ["z"], b.attribute("then_branch", b.part(6, inner))),
    ]
    return b.model(
        b.graph(nodes, [b.tensor("w", WEIGHTS, 1)], [b.value("x", 1, [2, "batch", 576])])
    )


def test_all_that_a_graph_holds() -> None:
    graph = read_onnx(small())
    assert [node.op for node in graph.nodes] == ["Constant", "Conv", "If"]
    assert np.array_equal(graph.initializers["w"], WEIGHTS)  # type: ignore[arg-type]
    assert graph.inputs["x"].dtype == np.float32
    assert graph.inputs["x"].shape == (2, -1, 576)
    constant, conv, choice = graph.nodes
    assert np.array_equal(constant.attributes["value"], WEIGHTS)
    assert (conv.inputs, conv.outputs) == (("x", "c"), ("y",))
    assert conv.attributes == {
        "strides": [1, -2, 3, 4],
        "group": -1,
        "alpha": 0.5,
        "mode": b"reflect",
    }
    branch = choice.attributes["then_branch"]
    assert isinstance(branch, Graph)
    assert [node.op for node in branch.nodes] == ["Identity", "Relu"]
    assert np.array_equal(branch.initializers["inner"], INDEX)  # type: ignore[arg-type]


def test_values_that_are_not_raw() -> None:
    floats = b.number(1, 3) + b.number(2, 1) + b.part(8, "f") + b.part(4, WEIGHTS[1].tobytes())
    packed = b.part(7, b.varint(5) + b.varint(-6))
    integers = b.part(1, b.varint(2)) + b.number(2, 7) + b.part(8, "i") + packed
    graph = read_onnx(b.model(b.graph([], [floats, integers], [])))
    assert np.array_equal(graph.initializers["f"], WEIGHTS[1])  # type: ignore[arg-type]
    assert np.array_equal(graph.initializers["i"], [5, -6])  # type: ignore[arg-type]


def test_a_tensor_of_no_use_is_stepped_over() -> None:
    strings = b.number(2, 8) + b.part(8, "words")
    assert read_onnx(b.model(b.graph([], [strings], []))).initializers == {"words": None}


def in_tensor(*fields: bytes) -> bytes:
    return b.model(b.graph([], [b"".join(fields)], []))


def in_attribute(*fields: bytes) -> bytes:
    return b.model(b.graph([b.node("Conv", [], [], b.attribute("a", b"".join(fields)))], [], []))


FLOAT = b.number(2, 1)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "this has 0"),
        (b"not a graph", "unknown wire type|are left"),
        (small() + b.part(7, b""), "this has 2"),
        (b.number(7, 3), "a number where a message"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "more than ten bytes"),
        (b"\x3a\x80", "ends within a varint"),
        (b"\x3a\xff\xff\xff\xff\x0f", "0 are left"),
        (b"\x02\x00", "field 0"),
        (in_tensor(b.number(1, 3), FLOAT, b.part(9, bytes(8))), "can't have the shape"),
        (in_tensor(b.number(1, 1 << 62), FLOAT, b.number(1, 4)), "can't have the shape"),
        (in_tensor(b.number(1, -1), FLOAT, b.part(9, bytes(4))), "can't have the shape"),
        (in_tensor(*[b.number(1, 1)] * 99, FLOAT, b.part(9, bytes(4))), "can't have the shape"),
        (in_tensor(b.number(1, 1), FLOAT, b.part(9, bytes(5))), "5 bytes are no float32"),
        (in_tensor(FLOAT, b.part(4, bytes(5))), "5 bytes are no floats"),
        (in_tensor(FLOAT, b.number(14, 1)), "another file"),
        (in_tensor(b.part(8, b"\xff")), "not UTF-8"),
        (in_tensor(b.part(2, "x")), "bytes where a number"),
        (in_attribute(b.number(3, 1), b.number(8, 2)), "a list and a single value"),
        (in_attribute(b.part(5, b.tensor("", WEIGHTS, 1)), b.number(8, 2)), "a list and a single"),
    ],
)
def test_what_is_no_onnx_file_is_refused_with_the_reason(data: bytes, sentence: str) -> None:
    with pytest.raises(OnnxError, match=sentence):
        read_onnx(data)


def nested(depth: int) -> bytes:
    inner = b.graph([], [], [])
    for _ in range(depth):
        inner = b.graph([b.node("If", [], [], b.attribute("x", b.part(6, inner)))], [], [])
    return b.model(inner)


def test_depth_is_bounded() -> None:
    read_onnx(nested(MAX_DEPTH - 1))
    with pytest.raises(OnnxError, match="nested deeper"):
        read_onnx(nested(MAX_DEPTH))
    with pytest.raises(OnnxError, match="nested deeper"):
        read_onnx(nested(2000))


def test_cut_anywhere() -> None:
    data = small()
    for end in range(1, len(data)):
        # A cut between two fields of the model leaves one without a graph, which is refused.
        with pytest.raises(OnnxError):
            read_onnx(data[:end])


def survives(read: Callable[[], object]) -> bool:
    """True if it was read, False if it was refused; any other exception fails the test."""
    try:
        read()
    except OnnxError:
        return False
    return True


def test_corrupt_bytes_are_read_or_refused() -> None:
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    chance = random.Random(seed)
    original = small()
    results = []
    for _ in range(4000):
        data = bytearray(original)
        for _ in range(chance.randint(1, 4)):
            where = chance.randrange(len(data))
            kind = chance.randrange(3)
            if kind == 0:
                data[where] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            elif kind == 1:
                del data[where : where + chance.randint(1, 9)]
            else:
                data[where:where] = chance.randbytes(chance.randint(1, 9))
            data = data or bytearray(b"\0")
        results.append(survives(lambda data=bytes(data): read_onnx(data)))  # type: ignore[misc]
    assert 100 < sum(results) < 3900, "both ends must be met, or nothing was tried"


def test_the_installed_model() -> None:
    try:
        data = find_model().data
    except MissingLibraryError as error:
        pytest.skip(str(error))
    began = time.thread_time()
    graph = read_onnx(data)
    assert time.thread_time() - began < 1.0
    assert list(graph.inputs) == ["input", "state", "sr"]
    assert "If" in {node.op for node in graph.nodes}
    for end in (len(data) // 3, len(data) - 1):
        with pytest.raises(OnnxError):
            read_onnx(data[:end])
