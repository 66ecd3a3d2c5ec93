"""A provider in a process of its own: ``python -m providers.serve NAME [CERTIFICATE KEY]``.

Prints its address once it listens, and ends with its standard input, so that it never
outlives who started it. With a certificate (PEM files) it speaks TLS. It understands
the words of the recording at their times, whatever is said to it, so that it costs
little beside what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import logging
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fakes.assemblyai_server import AssemblyAiServer
from fakes.deepgram_flux_server import FluxServer
from fakes.deepgram_server import DeepgramServer
from fakes.openai_realtime_stt_server import OpenAiRealtimeSttServer
from providers.recorded import recorded
from providers.subjects import word_a_third
from turns.cases import cases_dir

INTERIM_MS = 700
"""A session of Deepgram's tells an interim about so often; the others have their own pace."""


class Sink:
    """Takes what comes over TCP and says nothing."""

    url = ""

    def __init__(self, heard: object, *, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Sink:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=self._tls)
        self.url = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()


SERVERS: dict[str, Callable[..., Any]] = {
    "deepgram": lambda heard, **more: DeepgramServer(
        heard, interim_ms=INTERIM_MS, keys=("key",), **more
    ),
    "deepgram-flux": lambda heard, **more: FluxServer(heard, keys=("key",), **more),
    "assemblyai": AssemblyAiServer,
    "openai-realtime-stt": OpenAiRealtimeSttServer,
    "sink": Sink,
}
_WAIT_S = 20.0


def understanding() -> Callable[[bytes], Sequence[tuple[str, float, float]]]:
    """The recording's words by their times; a word a third of a second without one."""
    folder = cases_dir()
    speech = recorded(folder) if folder else None
    if speech is None:
        return word_a_third
    words = speech.words
    return lambda pcm: [word for word in words if word[2] * 32_000 <= len(pcm)]


async def serve(name: str, tls: ssl.SSLContext | None) -> None:
    """Be ``name`` until the standard input ends."""
    async with SERVERS[name](understanding(), tls=tls) as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)


@contextlib.asynccontextmanager
async def provider(name: str, certificate: Path | None = None) -> AsyncIterator[str]:
    """The address of ``name``, served by a process that is gone afterwards.

    ``certificate``: the folder of :func:`make_certificate`; TimeoutError if it doesn't
    listen within twenty seconds.
    """
    files = [] if certificate is None else [certificate / "cert.pem", certificate / "key.pem"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "providers.serve", name, *map(str, files)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_WAIT_S):
            url = (await process.stdout.readline()).decode().strip()
        if not url:
            raise RuntimeError(f"{name} did not start")
        yield url
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(_WAIT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def make_certificate(folder: Path) -> ssl.SSLContext:
    """Write ``cert.pem`` and ``key.pem`` for 127.0.0.1; the context that trusts them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ssl.create_default_context(cafile=str(folder / "cert.pem"))


def _main(name: str, *files: str) -> None:
    # Some fakes still answer a client that has hung up; that is no news here.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    tls = None
    if files:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*files)
    asyncio.run(serve(name, tls))


if __name__ == "__main__":
    _main(*sys.argv[1:])
