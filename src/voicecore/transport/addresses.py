"""The addresses of this machine under which a caller could reach it."""

from __future__ import annotations

import ipaddress

import ifaddr

_MOST = 8
"""Each address is a candidate, and each pair of candidates a check at the caller's."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def local_addresses() -> list[str]:
    """Addresses to offer, best first: IPv4, then IPv6, then IPv4 link-local; at most eight.

    IPv6 link-local ones need a scope that no candidate can name. 127.0.0.1 is
    offered only where there is nothing else, so that a call on the machine
    itself works with the network cut off.
    """
    found: set[Address] = set()
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            found.add(ipaddress.ip_address(entry.ip if isinstance(entry.ip, str) else entry.ip[0]))
    return order(found)


def order(found: set[Address]) -> list[str]:
    """The usable ones of ``found`` in the order of :func:`local_addresses`."""
    usable = [a for a in found if not (a.is_loopback or a.is_unspecified or a.is_multicast)]
    kept = [a for a in usable if a.version == 4 or not a.is_link_local]
    kept.sort(key=lambda a: (a.is_link_local, a.version, int(a)))
    return [str(address) for address in kept[:_MOST]] or ["127.0.0.1"]
