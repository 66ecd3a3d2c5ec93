"""A real coturn, run by the configuration that we ship, and a CA for its certificate."""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from caller.server import free_port
from voicecore.service.ice import turn_credentials
from voicecore.transport.addresses import local_addresses
from voicecore.transport.ice_servers import TurnServer

CONFIGURATION = Path(__file__).parents[2] / "service" / "coturn" / "turnserver.conf"
SECRET = "of the tests alone"
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Turn:
    """Where it is, who vouches for it, and what it has logged."""

    host: str
    port: int
    tls_port: int
    ca: Path
    log: Path

    def url(self, way: str) -> str:
        """Of ``udp``, ``tcp`` or ``tls``."""
        if way == "tls":
            return f"turns:{self.host}:{self.tls_port}"
        return f"turn:{self.host}:{self.port}?transport={way}"

    def server(self, way: str, *, secret: str = SECRET, ends_in_s: int = 60) -> TurnServer:
        """The same with a user name and a password."""
        user, password = turn_credentials(secret, "program", int(time.time()) + ends_in_s)
        port = self.tls_port if way == "tls" else self.port
        transport = "udp" if way == "udp" else "tcp"
        return TurnServer(self.host, port, transport, way == "tls", user, password)

    def logged(self, text: str) -> int:
        """How often it has said so."""
        return self.log.read_text().count(text)


def local_host() -> str:
    """The machine's own address; coturn relays to none of loopback."""
    return next(host for host in local_addresses() if ":" not in host)


@contextmanager
def coturn(folder: Path) -> Iterator[Turn]:
    """coturn on the machine's own address; what a test can't share is overridden."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed (apt-get install coturn)")
    host = local_host()
    made = Turn(host, free_port(), free_port(), folder / "ca.pem", folder / "log")
    certify(host, made.ca, folder / "cert.pem", folder / "key.pem")
    command = [
        program, "-c", str(CONFIGURATION), f"--static-auth-secret={SECRET}",
        f"--listening-ip={host}", f"--relay-ip={host}", f"--allowed-peer-ip={host}",
        f"--listening-port={made.port}", f"--tls-listening-port={made.tls_port}",
        f"--cert={folder / 'cert.pem'}", f"--pkey={folder / 'key.pem'}",
        f"--pidfile={folder / 'pid'}", f"--userdb={folder / 'db'}", "--verbose",
    ]  # fmt: skip
    with made.log.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        for port in (made.port, made.tls_port):
            _await_listening(host, port, process, made.log)
        yield made
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def dead_server() -> Iterator[int]:
    """A UDP port of the machine's own address where nobody answers."""
    host = local_host()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((host, 0))
        yield int(silent.getsockname()[1])


def certify(host: str, ca: Path, certificate: Path, key: Path) -> None:
    """A new authority, and a certificate of its for the address ``host``."""
    own, its = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        for text in ("an authority of the tests", host)
    ]
    for name, public, path, is_ca in ((0, own, ca, True), (1, its, certificate, False)):
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names[0])
            .public_key(public.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            address = x509.IPAddress(ipaddress.ip_address(host))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        made = builder.sign(own, hashes.SHA256())
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        its.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _await_listening(host: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0):
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
