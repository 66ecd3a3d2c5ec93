"""Binding messages as bytes, against aioice's own reading and writing of them."""

from __future__ import annotations

import os
import random
import secrets

import pytest
from aioice import stun as oracle

from voicecore.transport import stun_check as stun

PASSWORD = b"k9PBZbPcYxZ0WBXZBMjWQw"


def whole(kind: oracle.Class, transaction: bytes, **attributes: object) -> oracle.Message:
    message = oracle.Message(
        message_method=oracle.Method.BINDING, message_class=kind, transaction_id=transaction
    )
    for name, value in attributes.items():
        message.attributes[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize("user", ["abcd:efgh", "abcde:efgh", "abcdef:efgh", "abcdefg:efgh"])
def test_what_aioice_writes_is_read(user: str) -> None:
    transaction = secrets.token_bytes(12)
    message = whole(
        oracle.Class.REQUEST, transaction, USERNAME=user, PRIORITY=1_853_824_767, ICE_CONTROLLED=77
    )
    message.add_message_integrity(PASSWORD)
    message.add_fingerprint()
    read = stun.read(bytes(message), PASSWORD)
    assert read is not None
    assert (read.kind, read.transaction) == (stun.REQUEST, transaction)
    assert read.attributes == {
        stun.USERNAME: user.encode(),
        stun.PRIORITY: (1_853_824_767).to_bytes(4, "big"),
        stun.ICE_CONTROLLED: (77).to_bytes(8, "big"),
    }
    assert stun.read(bytes(message), PASSWORD + b"x") is None


@pytest.mark.parametrize(("host", "port"), [("192.0.2.7", 1), ("2001:db8::1f", 65_535)])
def test_aioice_reads_what_we_write(host: str, port: int) -> None:
    transaction = secrets.token_bytes(12)
    body = stun.mapped_address(host, port, transaction)
    data = stun.write(stun.RESPONSE, transaction, body, PASSWORD)
    message = oracle.parse_message(data)
    assert message.message_class == oracle.Class.RESPONSE
    assert message.transaction_id == transaction
    assert message.attributes["XOR-MAPPED-ADDRESS"] == (host, port)
    assert message.check_message_integrity(PASSWORD)
    assert stun.read(data, PASSWORD) is not None


def test_an_interface_s_name_is_not_part_of_an_address() -> None:
    transaction = bytes(12)
    scoped = stun.mapped_address("fe80::1%eth0", 9, transaction)
    assert scoped == stun.mapped_address("fe80::1", 9, transaction)


def test_the_same_bytes_as_aioice() -> None:
    transaction = secrets.token_bytes(12)
    message = whole(oracle.Class.RESPONSE, transaction, XOR_MAPPED_ADDRESS=("198.51.100.9", 4242))
    message.add_message_integrity(PASSWORD)
    message.add_fingerprint()
    body = stun.mapped_address("198.51.100.9", 4242, transaction)
    assert stun.write(stun.RESPONSE, transaction, body, PASSWORD) == bytes(message)


def test_without_fingerprint_or_signature_nothing_is_read() -> None:
    message = whole(oracle.Class.REQUEST, bytes(12), USERNAME="a:b")
    assert stun.read(bytes(message), PASSWORD) is None
    message.add_fingerprint()
    assert stun.read(bytes(message), PASSWORD) is None
    signed = whole(oracle.Class.REQUEST, bytes(12), USERNAME="a:b")
    signed.add_message_integrity(PASSWORD)
    assert signed.attributes.pop("FINGERPRINT", None) is not None
    assert stun.read(bytes(signed), PASSWORD) is None


def test_no_changed_byte_passes_and_nothing_raises() -> None:
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    rng = random.Random(seed)
    body = stun.attribute(stun.USERNAME, b"abcd:efg") + stun.attribute(stun.PRIORITY, bytes(4))
    good = stun.write(stun.REQUEST, secrets.token_bytes(12), body, PASSWORD)
    assert stun.read(good, PASSWORD) is not None
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << rng.randrange(8)
        assert stun.read(bytes(bad), PASSWORD) is None, f"byte {at}"
    for _ in range(3000):
        noise = bytearray(good[: rng.randrange(len(good) + 1)])
        noise += rng.randbytes(rng.randrange(12))
        for _ in range(rng.randrange(4)):
            if noise:
                noise[rng.randrange(len(noise))] = rng.randrange(256)
        if bytes(noise) != good:
            assert stun.read(bytes(noise), PASSWORD) is None
