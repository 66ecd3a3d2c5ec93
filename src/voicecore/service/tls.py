"""HTTPS: the owner's certificate, or one of our own making for the LAN.

Browsers give a page the microphone only on localhost or over HTTPS. For a
phone in the same network a self-signed certificate is enough: the browser
warns once, and the fingerprint in the start banner tells that it is ours.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import ssl
import stat
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from voicecore.service.addresses import lan_addresses, machine_names
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError

LIFE = timedelta(days=365)
"""Short enough for every browser's limit on certificates (398 days)."""
RENEW_BEFORE = timedelta(days=30)
_CLOCK_SKEW = timedelta(days=1)
_FILE_NAME = "self-signed.pem"


def ssl_context(settings: Settings) -> tuple[ssl.SSLContext | None, str]:
    """The context to serve with, and the fingerprint of a self-made certificate.

    ``(None, "")`` for plain HTTP; the fingerprint is ``""`` for the owner's
    own certificate. Raises :class:`ConfigError` for files that can't be used.
    """
    if settings.tls_cert is not None and settings.tls_key is not None:
        context = _new_context()
        try:
            context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or str(error)
            raise ConfigError(
                [f"tls_cert {settings.tls_cert} and tls_key {settings.tls_key}: {reason}"]
            ) from None
        return context, ""
    if settings.tls == "self":
        pem = self_signed(cache_dir(), datetime.now(UTC))
        return _context_from(pem), fingerprint(pem)
    return None, ""


def cache_dir() -> Path:
    """Our folder in the user's cache (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "voicecore"


def self_signed(folder: Path, now: datetime) -> bytes:
    """Key and certificate (PEM) for this machine's names and addresses.

    The one kept in ``folder`` (file mode 0600) serves as long as it is
    neither near its end nor short of a name or address; else a new one takes
    its place. Where the folder can't be written the new one lives in memory.
    """
    wanted = subject_names()
    path = folder / _FILE_NAME
    kept = _read_private(path)
    if kept is not None and _serves(kept, wanted, now):
        return kept
    made = make_certificate(wanted, now)
    try:
        _write_private(path, made)
    except OSError:
        return made
    return made


def subject_names() -> list[str]:
    """What the certificate must be valid for: names and addresses as text."""
    return ["localhost", *machine_names(), "127.0.0.1", "::1", *lan_addresses()]


def make_certificate(names: Sequence[str], now: datetime) -> bytes:
    """A new P-256 key and a certificate over it, one PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "voicecore on this network")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def fingerprint(pem: bytes) -> str:
    """SHA-256 of the certificate, as browsers show it."""
    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex(":").upper()


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    result: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            result.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            result.append(x509.DNSName(name))
    return result


def _serves(pem: bytes, wanted: Sequence[str], now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        serialization.load_pem_private_key(pem, password=None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return False
    covered = set(names.get_values_for_type(x509.DNSName))
    covered |= {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    if certificate.not_valid_before_utc > now:
        return False
    return set(wanted) <= covered and certificate.not_valid_after_utc - now > RENEW_BEFORE


def _read_private(path: Path) -> bytes | None:
    """The file's bytes if it is a plain file of ours that nobody else may read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
            return None
        return file.read()


def _write_private(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _context_from(pem: bytes) -> ssl.SSLContext:
    """OpenSSL's binding reads files only: lend it one that is gone afterwards."""
    context = _new_context()
    with tempfile.NamedTemporaryFile(prefix="voicecore-", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _no_password() -> str:
    """Without this OpenSSL would ask on the terminal, and the start would hang."""
    raise ValueError("the key is protected by a password; give one without")
