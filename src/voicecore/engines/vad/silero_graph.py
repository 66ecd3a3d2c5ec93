"""Recognise Silero's network in an ONNX file, and take its weights.

The file holds a branch for 16 kHz and one for 8 kHz, chosen by ``sr``. Whatever
differs from the network our kernels compute (names and shapes of the inputs, the
row of operations, strides and padding, the transform's basis, shapes of the
weights) is refused with the reason; that the sums agree is for a trial run to
prove (:mod:`voicecore.engines.vad.silero_gate`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from voicecore._native import silero
from voicecore.engines.vad.onnx_file import Graph, Node, OnnxError, read_onnx

Arrays = dict[str, NDArray[np.float32]]

_INPUTS: Final = {"input": (np.float32, 2), "state": (np.float32, 3), "sr": (np.int64, 0)}
_HIDDEN: Final = 128

_BOOKKEEPING: Final = {
    *("Constant", "ConstantOfShape", "Identity", "If"),
    *("Concat", "Reshape", "Slice", "Transpose", "Cast", "Unsqueeze", "Squeeze"),
    *("Shape", "Size", "Gather", "Equal", "Not"),
}
"""Operations that move values or ask for shapes, and compute nothing."""

_COMPUTED: Final = [
    *("Pad", "Conv", "Pow", "Pow", "Add", "Sqrt"),
    *("Conv", "Relu", "Conv", "Relu", "Conv", "Relu", "Conv", "Relu"),
    *("LSTM", "LSTM", "Relu", "Conv", "Sigmoid", "ReduceMean"),
]
"""The rest, in order. The LSTM stands there for a batch and again for a single frame."""

_BASIS_TOLERANCE: Final = 1e-6


class UnknownGraphError(Exception):
    """The file holds another network than the one our kernels compute; the text says how."""


def read_weights(data: bytes, rate_hz: int) -> Arrays:
    """The weights for ``rate_hz`` (16000 or 8000) as ``SileroWeights`` wants them.

    The arrays are views of ``data``. Raises UnknownGraphError, for a file that
    can't be read too.
    """
    try:
        graph = read_onnx(data)
    except OnnxError as error:
        raise UnknownGraphError(f"the file can't be read: {error}") from error
    _check_inputs(graph)
    branch = _branch(graph, rate_hz)
    computed = [node for node in _walk(branch) if node.op not in _BOOKKEEPING]
    if [node.op for node in computed] != _COMPUTED:
        raise UnknownGraphError(f"its operations are {' '.join(node.op for node in computed)}")
    constants = _constants(branch)
    convs = [node for node in computed if node.op == "Conv"]
    _check_basis(constants, convs[0], rate_hz)
    arrays = _conv_arrays(constants, convs[1:])
    if any(node.attributes != {"hidden_size": _HIDDEN} for node in computed if node.op == "LSTM"):
        raise UnknownGraphError("its LSTM has other attributes")
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        arrays[f"lstm_{part}"] = _ending(constants, f"rnn.{part}")
    _check_shapes(arrays, rate_hz)
    return arrays


def _check_inputs(graph: Graph) -> None:
    found = {name: (info.dtype, len(info.shape)) for name, info in graph.inputs.items()}
    if found != {name: (np.dtype(dtype), dims) for name, (dtype, dims) in _INPUTS.items()}:
        raise UnknownGraphError(f"its inputs are {', '.join(graph.inputs) or 'none'}")
    if graph.inputs["state"].shape[::2] != (2, _HIDDEN):
        raise UnknownGraphError(f"its state has the shape {graph.inputs['state'].shape}")
    if len(graph.outputs) != 2:
        raise UnknownGraphError(f"it has {len(graph.outputs)} outputs")


def _branch(graph: Graph, rate_hz: int) -> Graph:
    """What runs for ``rate_hz``: one side of an If on sr == 16000."""
    constants = _constants(graph)
    outer = [node for node in graph.nodes if node.op not in {"Constant", "Identity"}]
    if [node.op for node in outer] != ["Equal", "If"]:
        raise UnknownGraphError("it does not begin with a choice by sr")
    equal, choice = outer
    rates = [constants[name] for name in equal.inputs if name in constants]
    if "sr" not in equal.inputs or len(rates) != 1 or not np.array_equal(rates[0], 16_000):
        raise UnknownGraphError("its choice is not that of sr = 16000")
    branch = choice.attributes.get("then_branch" if rate_hz == 16_000 else "else_branch")
    if choice.inputs != equal.outputs or not isinstance(branch, Graph):
        raise UnknownGraphError("its choice has no branches")
    return branch


def _walk(graph: Graph) -> Iterator[Node]:
    """All nodes, those of inner graphs in the place of the node that holds them."""
    for node in graph.nodes:
        yield node
        for value in node.attributes.values():
            if isinstance(value, Graph):
                yield from _walk(value)


def _constants(graph: Graph) -> dict[str, NDArray[Any]]:
    found = {name: array for name, array in graph.initializers.items() if array is not None}
    for node in graph.nodes:
        value = node.attributes.get("value")
        if node.op == "Constant" and len(node.outputs) == 1 and isinstance(value, np.ndarray):
            found[node.outputs[0]] = value
    return found


def _check_basis(constants: dict[str, NDArray[Any]], conv: Node, rate_hz: int) -> None:
    """Whether the first convolution is a transform under a periodic Hann window."""
    window = rate_hz * 16 // 1000
    _check_conv(conv, taps=window, stride=window // 2, pad=0)
    basis = constants.get(conv.inputs[1]) if len(conv.inputs) == 2 else None
    bins = window // 2 + 1
    if basis is None or basis.shape != (2 * bins, 1, window):
        raise UnknownGraphError("its transform has another shape")
    turns = np.outer(np.arange(bins), np.arange(window)) % window * (2 * np.pi / window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    wanted = np.concatenate([hann * np.cos(turns), hann * -np.sin(turns)])
    # Not "> tolerance": a basis that is not a number must fail too.
    if not np.abs(basis[:, 0] - wanted).max() <= _BASIS_TOLERANCE:
        raise UnknownGraphError("its transform is not Fourier's under a Hann window")


def _check_conv(conv: Node, *, taps: int, stride: int, pad: int) -> None:
    wanted = {
        "dilations": [1],
        "group": 1,
        "kernel_shape": [taps],
        "pads": [pad, pad],
        "strides": [stride],
    }
    if conv.attributes != wanted:
        raise UnknownGraphError("a convolution has other strides, padding or taps")


def _conv_arrays(constants: dict[str, NDArray[Any]], convs: list[Node]) -> Arrays:
    arrays: Arrays = {}
    names = ["conv0", "conv1", "conv2", "conv3", "head"]
    for name, conv, stride in zip(names, convs, (1, 2, 2, 1, 1), strict=True):
        taps = 1 if name == "head" else 3
        _check_conv(conv, taps=taps, stride=stride, pad=taps // 2)
        if len(conv.inputs) != 3 or not set(conv.inputs[1:]) <= set(constants):
            raise UnknownGraphError(f"the weights of {name} are no constants")
        arrays[f"{name}_weight"], arrays[f"{name}_bias"] = (
            constants[given] for given in conv.inputs[1:]
        )
    return arrays


def _ending(constants: dict[str, NDArray[Any]], suffix: str) -> NDArray[Any]:
    """The one constant whose name ends so: on its way to the LSTM it is cut and reordered."""
    found = [array for name, array in constants.items() if name.endswith(suffix)]
    if len(found) != 1:
        raise UnknownGraphError(f"it has {len(found)} constants named {suffix}")
    return found[0]


def _check_shapes(arrays: Arrays, rate_hz: int) -> None:
    for name, shape in silero.shapes(rate_hz).items():
        array = arrays[name]
        if array.dtype != np.float32 or array.shape != shape:
            raise UnknownGraphError(f"{name} is {array.dtype} {array.shape}, not float32 {shape}")
