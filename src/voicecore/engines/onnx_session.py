"""An onnxruntime session that leaves the cores to the media threads."""

from __future__ import annotations

import importlib
from typing import Any

from voicecore.errors import MissingLibraryError


def open_session(data: bytes, *, missing: str) -> Any:
    """The model ``data`` on one thread of the CPU, which doesn't spin.

    Raises MissingLibraryError with the words ``missing`` without onnxruntime, and
    whatever onnxruntime raises for what it can't load.
    """
    try:
        ort = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingLibraryError(missing, code="onnxruntime_missing") from error
    options = ort.SessionOptions()
    # One run is short; spinning workers would eat the cores of the calls.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
