"""What is told of where the service listens, and why it can't."""

from __future__ import annotations

import errno

from voicecore.service.addresses import is_loopback, urls
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError

_ERRORS = {
    errno.EADDRINUSE: "it is in use by another program; choose another with --{}port",
    errno.EACCES: "ports below 1024 need privileges; choose another with --{}port",
    errno.EADDRNOTAVAIL: "this machine has no such address; see --{}host",
}


ADMIN_FLAGS = "admin-"
"""What the names of the admin listener's settings begin with."""


def cannot_listen(error: OSError, host: str, port: int, flag: str = "") -> ConfigError:
    """What to raise for ``error``, which opening that socket met.

    ``flag``: what the names of its settings begin with, as ``admin-``.
    """
    # asyncio from Python 3.12 on drops the number of this one.
    number = error.errno or errno.EADDRNOTAVAIL
    reason = _ERRORS.get(number, "").format(flag) or error.strerror or str(error)
    return ConfigError([f"can't listen on {host} port {port}: {reason}"])


def urls_of(settings: Settings, port: int) -> list[str]:
    """Where a browser finds the page of a service that listens on ``port``."""
    return urls(_scheme(settings), settings.host, port)


def admin_url_of(settings: Settings) -> str:
    """Where the admin page is; ``""`` without an admin listener."""
    if not settings.admin_port:
        return ""
    scheme = _scheme(settings) if admin_by_tls(settings) else "http"
    return urls(scheme, settings.admin_host, settings.admin_port)[0] + "admin/sessions"


def admin_by_tls(settings: Settings) -> bool:
    """Whether the admin listener shows the public one's certificate, if there is one.

    Within the machine nobody listens in; elsewhere the token is worth as much as the calls.
    """
    return not is_loopback(settings.admin_host)


def where_to_look(settings: Settings, port: int, fingerprint: str) -> list[str]:
    """Lines for the banner; ``fingerprint`` is a self-signed certificate's, else ``""``."""
    lines = [f"  open {url}" for url in urls_of(settings, port)]
    if settings.admin_port:
        lines.append(f"  live calls: {admin_url_of(settings)}")
    if fingerprint:
        lines += [
            "  The certificate is self-signed: each browser warns once. It is ours if its",
            f"  SHA-256 fingerprint is {fingerprint}",
        ]
    elif not (settings.tls_cert or is_loopback(settings.host) or settings.trusted_proxies):
        lines += [
            "  Browsers give the microphone only on localhost or over HTTPS: for other",
            "  machines add --tls self, or --tls-cert and --tls-key.",
        ]
    return lines


def _scheme(settings: Settings) -> str:
    return "https" if settings.tls or settings.tls_cert else "http"
