"""The process in which piper speaks: one text at a time, a sentence after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from voicecore.engines.framing import Kind
from voicecore.engines.protocols import WordMark
from voicecore.engines.tts.phoneme_marks import PhonemeMarker, Piece
from voicecore.engines.tts.piper_voice import OPTION, read_voice
from voicecore.engines.vad.onnx_file import OnnxError, read_onnx
from voicecore.engines.worker_side import Link, run_worker
from voicecore.errors import EngineError, MissingLibraryError

# Half a second at 22050 Hz: far below a frame's limit, few enough frames.
MAX_CHUNK_BYTES: Final = 22_050
_GRAPH: Final = 7  # of a ModelProto (onnx.proto3)
_OUTPUT: Final = 12  # of a GraphProto
_NAME: Final = 1  # of a ValueInfoProto


class Piper:
    """A voice, loaded; one thread."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Load the voice and let it say something."""
        try:
            import onnxruntime
            from piper import PiperVoice, SynthesisConfig
            from piper.config import PiperConfig
        except ImportError as error:
            raise MissingLibraryError(
                'piper is not installed: pip install "voicecore[piper]"'
            ) from error
        model = Path(settings["model"])
        self.rate_hz, speaker = read_voice(model, settings["speaker"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings["threads"]
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            config = PiperConfig.from_dict(json.loads(Path(f"{model}.json").read_bytes()))
            session = onnxruntime.InferenceSession(
                with_durations(model.read_bytes()), options, providers=["CPUExecutionProvider"]
            )
            self._voice: Any = PiperVoice(session=session, config=config)
            self._speaking: Any = SynthesisConfig(
                speaker_id=speaker, length_scale=config.length_scale / settings["speed"]
            )
            for _ in self.sentences("a"):
                pass
        except Exception as error:
            raise EngineError(
                f"piper: the voice did not load ({type(error).__name__}): check {OPTION}",
                engine="piper",
                code="tts_bad_model",
            ) from error

    def phonemise(self, text: str) -> list[list[str]]:
        """The phonemes of each sentence."""
        phonemes: list[list[str]] = self._voice.phonemize(text)
        return phonemes

    def sentences(self, text: str) -> Iterator[Any]:
        """The chunks of piper's own, one for each sentence, made as they are asked for."""
        return iter(self._voice.synthesize(text, self._speaking, include_alignments=True))


def with_durations(model: bytes) -> bytes:
    """The network, with the lengths of its phonemes (in frames) as a second output.

    It rounds them up by its only ``Ceil``; the graph of a released voice has just the
    audio as output. Messages of Protocol Buffers merge when their bytes are joined:
    a graph with an output and nothing else, put behind, adds that output. Whatever
    isn't so is left as it is.
    """
    try:
        graph = read_onnx(model)
    except OnnxError:
        return model
    found = [name for node in graph.nodes if node.op == "Ceil" for name in node.outputs]
    if len(found) != 1 or found[0] in graph.outputs:
        return model
    return model + _part(_GRAPH, _part(_OUTPUT, _part(_NAME, found[0].encode())))


def _part(field: int, data: bytes) -> bytes:
    """A length-delimited field; short enough that its length is below 2**14."""
    size = len(data)
    length = bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])
    return bytes([field << 3 | 2]) + length + data


def speak(link: Link, piper: Piper, stream: int, text: str) -> None:
    """Send the speech of ``text``, then END; stops between sentences when cancelled."""
    # piper takes what stands between [[ and ]] for phonemes.
    text = text.replace("[[", "  ").replace("]]", "  ")
    marker = PhonemeMarker(text, piper.phonemise)
    first_sample = 0
    for sentence in piper.sentences(text):
        if link.cancelled(stream):
            break
        pcm = sentence.audio_int16_array
        marks = _marks(marker, sentence, first_sample)
        first_sample += len(pcm)
        if marks:
            link.send_json(Kind.EVENT, stream, {"words": marks})
        data = pcm.astype("<i2").tobytes()
        for start in range(0, len(data), MAX_CHUNK_BYTES):
            link.send(Kind.AUDIO, stream, data[start : start + MAX_CHUNK_BYTES])
    link.send_json(Kind.END, stream, {})


def _marks(marker: PhonemeMarker, sentence: Any, first_sample: int) -> list[WordMark]:
    alignments = sentence.phoneme_alignments
    if not alignments:
        marker.skip(sentence.phonemes)
        return []
    pieces = [Piece(one.phoneme, int(one.num_samples)) for one in alignments]
    last = first_sample + len(sentence.audio_int16_array)
    return [
        mark._replace(end=min(mark.end or last, last))
        for mark in marker.sentence(pieces, first_sample)
        if mark.sample < last
    ]


def serve(link: Link, settings: dict[str, Any]) -> None:
    """Answer frames until the server closes the pipe."""
    piper = Piper(settings)
    link.send_json(Kind.READY, 0, {"rate_hz": piper.rate_hz})
    while (frame := link.receive()) is not None:
        if frame.kind is Kind.OPEN:
            speak(link, piper, frame.stream, frame.json()["text"])


if __name__ == "__main__":
    run_worker(serve)
