"""Private names of aiortc that ``aiortc_seam`` leans on, one test each: connection and halves."""

from __future__ import annotations

import ast
import asyncio
import inspect
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from aiortc import rtcpeerconnection, rtcrtptransceiver
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from aiortc.utils import random32

from voicecore.transport import aiortc_seam as seam
from voicecore.transport.halves import NativeReceiver, NativeSender


def attributes_of(module: Any, *owners: str) -> set[str]:
    """Attributes that ``module`` asks of expressions ending in one of ``owners``."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr in owners
        ):
            found.add(node.attr)
    return found


@pytest.mark.parametrize(("package", "version"), [("aiortc", "1.16.0"), ("aioice", "0.13.0")])
def test_the_tapped_packages_are_the_pinned_ones(package: str, version: str) -> None:
    assert metadata.version(package) == version
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert f"{package}=={version}" in project["project"]["optional-dependencies"]["service"]


async def test_transceiver_keeps_receiver_and_sender_under_mangled_names(connection) -> None:
    transceiver = connection.addTransceiver("audio")
    inside = vars(transceiver)
    assert inside["_RTCRtpTransceiver__receiver"] is transceiver.receiver
    assert inside["_RTCRtpTransceiver__sender"] is transceiver.sender


async def test_stream_and_track_ids_of_the_sender_are_in_the_description(connection) -> None:
    transceiver = connection.addTransceiver("audio")
    sender = seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    offer = await connection.createOffer()
    assert f"a=msid:{sender._stream_id} {sender._track_id}" in offer.sdp


async def test_exchanged_receiver_and_sender_are_what_the_properties_give(connection) -> None:
    transceiver = connection.addTransceiver("audio")
    before = transceiver.sender._stream_id
    sender = seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    assert transceiver.sender is sender
    assert isinstance(transceiver.receiver, NativeReceiver)
    assert transceiver.sender._stream_id == before


@pytest.mark.parametrize("half", ["receiver", "sender"])
@pytest.mark.parametrize("module", [rtcpeerconnection, rtcrtptransceiver])
async def test_our_halves_have_all_that_aiortc_asks_of_them(connection, module, half) -> None:
    transceiver = connection.addTransceiver("audio")
    seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    asked = attributes_of(module, half, f"__{half}")
    assert asked, "aiortc's source no longer names them so"
    ours = getattr(transceiver, half)
    assert not [name for name in asked if not hasattr(ours, name)]


async def test_receiver_and_sender_calls_have_the_signatures_aiortc_uses(connection) -> None:
    theirs = connection.addTransceiver("audio")
    for ours, other in (
        (NativeReceiver, theirs.receiver),
        (NativeSender, theirs.sender),
    ):
        for name in ("setTransport", "stop", "getStats", "receive", "send", "replaceTrack"):
            if not hasattr(ours, name):
                continue
            mine = getattr(ours, name)
            real = getattr(type(other), name)
            assert len(inspect.signature(mine).parameters) == len(
                inspect.signature(real).parameters
            ), name
            assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(real), name


async def test_negotiated_parameters_carry_codecs_with_name_and_payload_type() -> None:
    for kind in (RTCRtpReceiveParameters, RTCRtpSendParameters):
        assert kind().codecs == []


async def test_our_receiver_and_sender_pass_on_what_was_negotiated(connection) -> None:
    got: list[Any] = []
    transceiver = connection.addTransceiver("audio")
    seam.take_over_audio(transceiver, got.append, got.append)
    sent, received = RTCRtpSendParameters(), RTCRtpReceiveParameters()
    await transceiver.sender.send(sent)
    await transceiver.receiver.receive(received)
    assert got == [sent, received]


async def test_stats_of_our_halves_are_reports(connection) -> None:
    transceiver = connection.addTransceiver("audio")
    seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    assert len(await connection.getStats()) == 0


async def test_sender_ssrc_appears_in_the_offer(connection) -> None:
    transceiver = connection.addTransceiver("audio")
    sender = seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    offer = await connection.createOffer()
    assert f"a=ssrc:{sender._ssrc} cname:" in offer.sdp


async def test_send_is_awaited_before_receive() -> None:
    """Peer waits one loop turn after ``send`` to know both."""
    source = inspect.getsource(rtcpeerconnection.RTCPeerConnection._RTCPeerConnection__connect)
    assert 0 < source.index(".sender.send(") < source.index(".receiver.receive(")


def test_random32_is_a_32_bit_number() -> None:
    assert all(0 <= random32() < 1 << 32 for _ in range(50))


async def test_connecting_runs_in_a_method_that_an_instance_can_take_over(connection) -> None:
    method = rtcpeerconnection.RTCPeerConnection._RTCPeerConnection__connect
    assert inspect.iscoroutinefunction(method)
    assert list(inspect.signature(method).parameters) == ["self"]
    connection.addTransceiver("audio")
    failures: list[Exception] = []
    ran = asyncio.Event()

    async def connect() -> None:
        ran.set()
        raise RuntimeError("no way")

    vars(connection)["_RTCPeerConnection__connect"] = connect
    tasks = seam.ConnectTasks(connection, failures.append)
    await connection.setLocalDescription(await connection.createOffer())
    async with asyncio.timeout(60):
        await ran.wait()
    await tasks.cancel()
    assert [str(error) for error in failures] == ["no way"]
