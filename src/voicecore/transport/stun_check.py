"""Binding messages between two ends that know each other's password, as bytes.

RFC 8489: header (section 5), XOR-MAPPED-ADDRESS (14.2), MESSAGE-INTEGRITY
(14.5) and FINGERPRINT (14.7); ICE's attributes: RFC 8445, section 7.1. Only
what two ends say to each other while a call stands; all else is left to a
whole STUN library.
"""

from __future__ import annotations

import hmac
import ipaddress
import struct
from binascii import crc32
from typing import NamedTuple

REQUEST = 0x0001
RESPONSE = 0x0101
TRANSACTION_BYTES = 12

USERNAME = 0x0006
_MESSAGE_INTEGRITY = 0x0008
_XOR_MAPPED_ADDRESS = 0x0020
PRIORITY = 0x0024
USE_CANDIDATE = 0x0025
_FINGERPRINT = 0x8028
ICE_CONTROLLED = 0x8029
ICE_CONTROLLING = 0x802A

_COOKIE = 0x2112A442
_FINGERPRINT_XOR = 0x5354554E
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_INTEGRITY_BYTES = 24
_FINGERPRINT_BYTES = 8


class Binding(NamedTuple):
    """A message that whoever knows the password has made."""

    kind: int
    """:data:`REQUEST` or :data:`RESPONSE`."""
    transaction: bytes
    attributes: dict[int, bytes]
    """What MESSAGE-INTEGRITY covers, by type; the last one where a type comes twice."""


def read(data: bytes, password: bytes) -> Binding | None:
    """The message in ``data``, or None. Never raises.

    It must be whole, signed by ``password``, and end with FINGERPRINT right
    after MESSAGE-INTEGRITY, as ICE has it.
    """
    size = len(data)
    if size < _HEADER.size + _INTEGRITY_BYTES + _FINGERPRINT_BYTES:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if kind not in (REQUEST, RESPONSE) or cookie != _COOKIE or length != size - _HEADER.size:
        return None
    signed = size - _FINGERPRINT_BYTES - _INTEGRITY_BYTES
    attributes: dict[int, bytes] = {}
    at = _HEADER.size
    while at + _ATTRIBUTE.size <= signed:
        name, length = _ATTRIBUTE.unpack_from(data, at)
        end = at + _ATTRIBUTE.size + length
        if name == _MESSAGE_INTEGRITY:
            return None
        attributes[name] = data[at + _ATTRIBUTE.size : end]
        at = end + (-length & 3)
    if at != signed or not _is_signed(data, signed, password):
        return None
    return Binding(kind, transaction, attributes)


def receiver(data: bytes) -> str | None:
    """The receiver's name in an unchecked request; None for any other message. Never raises."""
    if len(data) < _HEADER.size or _HEADER.unpack_from(data)[0] != REQUEST:
        return None
    at = _HEADER.size
    while at + _ATTRIBUTE.size <= len(data):
        name, length = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        if name == USERNAME:
            return data[at : at + length].partition(b":")[0].decode("utf-8", "replace")
        at += length + (-length & 3)
    return None


def write(kind: int, transaction: bytes, attributes: bytes, password: bytes) -> bytes:
    """A message with ``attributes`` (:func:`attribute`), signed by ``password``."""
    length = len(attributes) + _INTEGRITY_BYTES
    body = _HEADER.pack(kind, length, _COOKIE, transaction) + attributes
    integrity = _ATTRIBUTE.pack(_MESSAGE_INTEGRITY, 20) + hmac.digest(password, body, "sha1")
    head = _HEADER.pack(kind, length + _FINGERPRINT_BYTES, _COOKIE, transaction)
    message = head + attributes + integrity
    return message + struct.pack("!HHI", _FINGERPRINT, 4, crc32(message) ^ _FINGERPRINT_XOR)


def attribute(name: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return _ATTRIBUTE.pack(name, len(value)) + value + bytes(-len(value) & 3)


def mapped_address(host: str, port: int, transaction: bytes) -> bytes:
    """XOR-MAPPED-ADDRESS: where a request came from."""
    address = ipaddress.ip_address(host.partition("%")[0])
    pad = _COOKIE.to_bytes(4, "big") + transaction
    packed = address.packed
    family = 1 if address.version == 4 else 2
    hidden = bytes(a ^ b for a, b in zip(packed, pad, strict=False))
    return attribute(
        _XOR_MAPPED_ADDRESS, struct.pack("!HH", family, port ^ (_COOKIE >> 16)) + hidden
    )


def _is_signed(data: bytes, signed: int, password: bytes) -> bool:
    integrity, fingerprint = signed, signed + _INTEGRITY_BYTES
    if _ATTRIBUTE.unpack_from(data, integrity) != (_MESSAGE_INTEGRITY, 20):
        return False
    name, length, crc = struct.unpack_from("!HHI", data, fingerprint)
    if (name, length) != (_FINGERPRINT, 4):
        return False
    if crc != crc32(data[:fingerprint]) ^ _FINGERPRINT_XOR:
        return False
    # The length that was signed ends with MESSAGE-INTEGRITY itself.
    length = fingerprint - _HEADER.size
    body = data[:2] + length.to_bytes(2, "big") + data[4:signed]
    theirs = data[integrity + _ATTRIBUTE.size : fingerprint]
    return hmac.compare_digest(hmac.digest(password, body, "sha1"), theirs)
