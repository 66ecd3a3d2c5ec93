"""The balancer's configuration for a cluster: that of ``service/haproxy``, but for its servers."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.kustomize import render
from ops import haproxy_process
from ops.haproxy_process import HAProxyProcess
from voicecore.service.addresses import lan_addresses
from voicecore.service.connections import MOST_OF_ONE_ADDRESS
from voicecore.service.tls import make_certificate

SERVICE = Path(__file__).parents[2] / "service"
FILE = SERVICE / "k8s/components/haproxy/haproxy.cfg"
OTHER = SERVICE / "haproxy/haproxy.cfg"
LEFT_OUT = (
    r"user haproxy", r"group haproxy", r"http-request set-var\(txn\.owner\).*",
    r"http-request replace-path /at/.*", r"use_backend owner .*", r"server [abc] .*",
    r"backend owner", r"option persist", r"retries 1", r"use-server .*",
)  # fmt: skip
ADDED = (
    r"ssl-load-extra-del-ext", r"bind :8443 ssl .*", r"monitor-uri /alive", r"server-template .*",
    r"resolvers cluster", r"parse-resolv-conf", r"hold valid 2s", r"accepted_payload_size \d+",
)  # fmt: skip


def lines(path: Path) -> list[str]:
    """Without comments and margins."""
    text = (line.strip() for line in path.read_text().splitlines())
    return [line for line in text if line and not line.startswith("#")]


def test_it_differs_in_servers_tls_and_user_alone() -> None:
    difference = list(difflib.ndiff(lines(OTHER), lines(FILE)))
    gone = [line[2:] for line in difference if line.startswith("- ")]
    new = [line[2:] for line in difference if line.startswith("+ ")]
    assert gone
    assert [line for line in gone if not any(re.fullmatch(one, line) for one in LEFT_OUT)] == []
    assert [line for line in new if not any(re.fullmatch(one, line) for one in ADDED)] == []
    assert len(new) == len(ADDED)


@pytest.mark.slow
@pytest.mark.skipif(not haproxy_process.available(), reason=haproxy_process.MISSING)
def test_one_address_gets_as_many_connections_as_an_instance_gives_it(tmp_path: Path) -> None:
    host = next((a for a in lan_addresses() if ":" not in a), "")
    if not host:
        pytest.skip("needs an address that is not loopback's")
    balancer = HAProxyProcess(tmp_path, {}, host)
    with contextlib.ExitStack() as stack:
        stack.callback(balancer.end)
        balancer.start()
        wires = []
        for _ in range(MOST_OF_ONE_ADDRESS + 2):
            wires.append(stack.enter_context(socket.create_connection((host, balancer.port), 5)))
        # Its threads take connections side by side, not in the order in which they came.
        taken = [wire for wire in wires if is_open(wire)]
        assert len(taken) == MOST_OF_ONE_ADDRESS
        taken[0].close()
        until_s = time.monotonic() + 10  # by then it has noticed
        while not is_open(stack.enter_context(socket.create_connection((host, balancer.port), 5))):
            assert time.monotonic() < until_s


def is_open(wire: socket.socket) -> bool:
    """Whether what is asked over it is answered (by 404: instances' own matters)."""
    try:
        wire.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return wire.recv(4096).startswith(b"HTTP/1.1 404")
    except ConnectionError:
        return False


@pytest.mark.slow
def test_haproxy_takes_it(tmp_path: Path) -> None:
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("haproxy is not installed (apt-get install haproxy)")
    pem = make_certificate(["voice.example.org"], datetime.now(UTC))
    key, _, chain = pem.partition(b"-----BEGIN CERTIFICATE-----")
    (tmp_path / "tls.key").write_bytes(key)
    (tmp_path / "tls.crt").write_bytes(b"-----BEGIN CERTIFICATE-----" + chain)
    config = tmp_path / "haproxy.cfg"
    config.write_text(FILE.read_text().replace("/etc/haproxy/tls/", f"{tmp_path}/"))
    (deployment,) = [
        m
        for m in render(SERVICE / "k8s/overlays/nodeport")
        if m["kind"] == "Deployment" and m["metadata"]["name"] == "haproxy"
    ]
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {e["name"]: e["value"] for e in only["env"]}
    variables["VOICECORE_STATS"] = str(tmp_path / "admin.sock")
    done = subprocess.run(
        [program, "-c", "-f", str(config)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert only["args"][-1] == "/etc/haproxy/config/haproxy.cfg"
    ports = {f":{port['containerPort']}" for port in only["ports"]}
    assert ports == {variables["VOICECORE_BIND"], ":8443"}
