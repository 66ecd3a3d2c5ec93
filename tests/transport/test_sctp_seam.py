"""Texts of one moment travel together; and the names of aiortc that this leans on."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, rtcsctptransport
from aiortc.rtcdtlstransport import RTCDtlsTransport, State

from transport.kit import until
from transport.peer_kit import pair
from voicecore.transport.sctp_seam import DataSender


class Outlet:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> bool:
        self.sent.append(data)
        return True


@pytest.fixture
async def channel() -> Any:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    yield connection.createDataChannel("voicecore")
    await connection.close()


async def test_the_names_that_are_leant_on(channel: Any) -> None:
    sctp, dtls = channel.transport, channel.transport.transport
    assert isinstance(dtls, RTCDtlsTransport)
    assert dtls._state is State.NEW
    assert "self._ssl" in inspect.getsource(RTCDtlsTransport)
    for name in (
        "_local_port",
        "_remote_port",
        "_remote_verification_tag",
        "_remote_max_message_size",
        "_data_channel_queue",
    ):
        assert name in vars(sctp), name
    assert inspect.iscoroutinefunction(sctp._send_chunk)
    assert inspect.iscoroutinefunction(sctp._data_channel_flush)
    assert inspect.ismethod(channel._addBufferedAmount)
    source = inspect.getsource(rtcsctptransport.RTCSctpTransport._data_channel_send)
    assert "channel._addBufferedAmount(len(user_data))" in source
    assert "_data_channel_queue.append((channel, pp_id, user_data))" in source


def test_all_chunks_go_out_by_one_method() -> None:
    source = inspect.getsource(rtcsctptransport)
    assert source.count("__transport._send_data(") == 1, "in _send_chunk"
    assert source.count("serialize_packet(") == 2, "its definition, and its one use"


def test_bundled_chunks_are_one_packet() -> None:
    chunks = []
    for number in range(3):
        chunk = rtcsctptransport.DataChunk(flags=3)
        chunk.tsn, chunk.user_data = number, b"x" * (number + 1)
        chunks.append(bytes(chunk))
    together: Any = b"".join(chunks)
    packet = rtcsctptransport.serialize_packet(5000, 5000, 77, together)
    *_, tag, read = rtcsctptransport.parse_packet(packet)
    assert tag == 77
    assert [chunk.tsn for chunk in read] == [0, 1, 2]
    assert [chunk.user_data for chunk in read] == [b"x", b"xx", b"xxx"]


async def test_before_dtls_stands_nothing_is_sent_and_nothing_raises(channel: Any) -> None:
    outlet = Outlet()
    sender = DataSender(channel.transport, outlet)
    sender.send(channel, ["early"])
    assert outlet.sent == []
    sender.close()
    sender.close()
    await channel.transport._send_chunk(rtcsctptransport.AbortChunk())


async def test_what_is_sent_together_travels_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair() as ((one, notes), (_, far)):
        assert notes.link is not None
        datagrams: list[int] = []
        send = notes.link.path.send

        def counted(data: bytes) -> bool:
            datagrams.append(len(data))
            return send(data)

        monkeypatch.setattr(notes.link.path, "send", counted)
        texts = [f"{number}: {'ä' * number}" for number in range(60)]
        assert one.send_texts(texts)
        await until(lambda: len(far.texts) == 60)
        assert far.texts == texts, "each a message of its own, in order"
        assert max(datagrams) <= 1300
        assert 4 <= len(datagrams) <= 8, datagrams


async def test_a_text_longer_than_a_datagram_and_one_longer_than_is_taken() -> None:
    async with pair() as ((one, _), (_, far)):
        assert one.send_texts(["a" * 3000, "b" * 70_000, "c"])
        await until(lambda: "c" in far.texts)
        assert far.texts == ["a" * 3000, "c"]
