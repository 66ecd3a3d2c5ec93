"""Certificates: ours for the LAN, the owner's from files."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from voicecore.service import tls
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError

NOW = datetime(2026, 5, 1, tzinfo=UTC)
pytestmark = pytest.mark.usefixtures("clean_surroundings")


def names_in(pem: bytes) -> set[str]:
    extension = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    names = set(extension.value.get_values_for_type(x509.DNSName))
    return names | {str(ip) for ip in extension.value.get_values_for_type(x509.IPAddress)}


def test_certificate_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "voicecore"
    made = tls.self_signed(folder, NOW)
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert tls.self_signed(folder, NOW + timedelta(days=300)) == made
    assert {"localhost", "127.0.0.1", "::1"} <= names_in(made)
    assert names_in(made) == set(tls.subject_names())


def test_renewed_when_near_its_end_or_from_the_future(tmp_path: Path) -> None:
    made = tls.self_signed(tmp_path, NOW)
    assert tls.self_signed(tmp_path, NOW + timedelta(days=340)) != made
    made = tls.self_signed(tmp_path, NOW + timedelta(days=340))
    assert tls.self_signed(tmp_path, NOW) != made


def test_renewed_when_the_network_changed(tmp_path: Path) -> None:
    (tmp_path / "self-signed.pem").touch(mode=0o600)
    old = tls.make_certificate(["localhost"], NOW)
    (tmp_path / "self-signed.pem").write_bytes(old)
    assert names_in(tls.self_signed(tmp_path, NOW)) > {"localhost"}


@pytest.mark.parametrize("content", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAA==\n"])
def test_broken_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "self-signed.pem"
    file.touch(mode=0o600)
    file.write_bytes(content)
    made = tls.self_signed(tmp_path, NOW)
    assert file.read_bytes() == made


def test_key_that_others_could_read_or_a_link_is_not_used(tmp_path: Path) -> None:
    made = tls.self_signed(tmp_path, NOW)
    file = tmp_path / "self-signed.pem"
    file.chmod(0o644)
    assert tls.self_signed(tmp_path, NOW) != made
    target = tmp_path / "elsewhere.pem"
    file.rename(target)
    file.symlink_to(target)
    before = target.read_bytes()
    assert tls.self_signed(tmp_path, NOW) != before
    assert target.read_bytes() == before


def test_without_a_writable_folder_it_lives_in_memory(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert b"PRIVATE KEY" in tls.self_signed(blocked / "voicecore", NOW)


def test_context_serves_the_self_made_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    context, fingerprint = tls.ssl_context(Settings(tls="self"))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert len(fingerprint.split(":")) == 32
    assert (tmp_path / "voicecore" / "self-signed.pem").is_file()


def test_plain_http_has_no_context() -> None:
    assert tls.ssl_context(Settings()) == (None, "")


def test_owner_s_certificate_and_its_errors(tmp_path: Path) -> None:
    pem = tmp_path / "both.pem"
    pem.write_bytes(tls.make_certificate(["localhost"], NOW))
    assert tls.ssl_context(Settings(tls_cert=pem, tls_key=pem))[0] is not None
    other = tmp_path / "other.pem"
    other.write_bytes(tls.make_certificate(["localhost"], NOW))
    with pytest.raises(ConfigError, match="tls_key"):
        tls.ssl_context(Settings(tls_cert=pem, tls_key=other))
    other.write_text("junk")
    with pytest.raises(ConfigError, match="tls_cert"):
        tls.ssl_context(Settings(tls_cert=other, tls_key=pem))


def test_locked_key_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    pem = tls.make_certificate(["localhost"], NOW)
    key = serialization.load_pem_private_key(pem, password=None)
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(pem)
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigError, match="password"):
        tls.ssl_context(Settings(tls_cert=cert_file, tls_key=key_file))
