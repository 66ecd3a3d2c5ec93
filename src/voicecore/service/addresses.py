"""The names and addresses under which this machine can be reached."""

from __future__ import annotations

import ipaddress
import socket

import ifaddr

_EVERYWHERE = ("0.0.0.0", "::")


def lan_addresses() -> list[str]:
    """The machine's addresses on its networks: IPv4 first, neither loopback nor link-local."""
    found: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            address = ipaddress.ip_address(text)
            if not (address.is_loopback or address.is_link_local or address.is_unspecified):
                found.add(address)
    return [str(address) for address in sorted(found, key=lambda a: (a.version, int(a)))]


def machine_names() -> list[str]:
    """The host name, also as multicast DNS has it; without asking any resolver."""
    name = socket.gethostname().lower().rstrip(".")
    return [name] if "." in name else [name, f"{name}.local"]


def is_loopback(host: str) -> bool:
    """Whether listening on ``host`` keeps other machines out."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def urls(scheme: str, host: str, port: int) -> list[str]:
    """What to type into a browser to reach a server that listens on ``host``."""
    hosts = ["localhost", *lan_addresses()] if host in _EVERYWHERE else [host]
    shown = [f"[{name}]" if ":" in name else name for name in hosts]
    suffix = "" if port == {"http": 80, "https": 443}[scheme] else f":{port}"
    return [f"{scheme}://{name}{suffix}/" for name in shown]
