"""The command line of the probe; its help is its documentation."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from voicecore.service.secret_text import from_environment, read_secret
from voicecore.service.setting_types import check_ice_url

if TYPE_CHECKING:  # the media stack is loaded once the arguments are right
    from voicecore.service.probe.placing import Wanted

KEY_VARIABLE = "VOICECORE_PROBE_KEY"
TURN_VARIABLE = "VOICECORE_PROBE_TURN_CREDENTIAL"
SHORTEST_S, LONGEST_S = 3.0, 600.0
_HUNG_S = 2.0
"""Beyond the time allowed, for what should not be able to hang and does."""

_INTRO = """\
Place a real call and find out whether callers are answered: ICE, DTLS, audio both ways, and an
answered turn. The caller is stock aiortc and says "Hello, can you hear me?" once any greeting
is over; the agent's answer is judged by the sound that arrives, not by what is said of it.

The call counts as a call: it takes a place of the service's limit, and stands in its metrics."""

_STAGES = """\
stages, in this order, with what is usually wrong where one fails
  http       the session is opened: not reachable, a wrong key (401), no room (503)
  gathering  our own candidates: a STUN or TURN server that does not reply
  signaling  descriptions are exchanged
  ice        a way for UDP is found: firewall, NAT, public_ip
  dtls       keys are agreed on
  hello      the data channel speaks
  audio_in   the first packet of the agent's audio
  greeting   the agent has ended its greeting, if it has one
  speech     we say our phrase
  answer     from the end of our speech to 200 ms of the agent's voice; a failure here is told as
               hearing (our audio does not arrive), endpoint (the turn is not ended),
               stt, llm, tts (an engine failed or is slow), answer (silence in place of a voice)
  hangup     the service says that the call is over

exit status
  0 answered    1 failed, at a stage that the output names    2 these arguments can't be used
  130 cut short by a signal, and hung up

output, one line of JSON (--text: for people)
  ok, failed_stage, reason, stages_ms, first_audio_in_ms (since the start), answer_ms (end of our
  speech -> the agent is heard, our jitter buffer of some 100 ms included), server_ms (the service's
  own figures of that turn), answer_dbfs, pair (candidate types here and there),
  packets (sent, received, lost on the way here), total_ms, session_id

examples
  by hand
      python -m voicecore.service probe http://127.0.0.1:8080/ --text
  from cron, with a key
      VOICECORE_PROBE_KEY_FILE=/run/secrets/probe python -m voicecore.service probe https://voice.example.org/
  as a Kubernetes exec probe (its timeoutSeconds a little above --timeout)
      python -m voicecore.service.probe http://127.0.0.1:8080/ --timeout 20
  through TURN alone, by the servers that the service tells of
      python -m voicecore.service probe https://voice.example.org/ --relay-only"""


class _Usage(Exception):
    """The arguments can't be used."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Usage(message)


def build_parser() -> argparse.ArgumentParser:
    """All that the probe can be told."""
    parser = _Parser(
        prog="python -m voicecore.service probe",
        usage="%(prog)s URL [options]",
        description=_INTRO,
        epilog=_STAGES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", help="where the service is, as its page's address")
    parser.add_argument(
        "--timeout", type=float, default=20.0, metavar="S",
        help="for all of it, 3 to 600 (default 20)",
    )  # fmt: skip
    parser.add_argument(
        "--client-offers", action="store_true", help="we make the offer (default: the service)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one line of JSON (default)")
    form.add_argument("--text", action="store_true", help="for people")
    key = parser.add_argument_group("a service that asks for a key")
    key.add_argument(
        "--key-file", metavar="FILE",
        help=f"file with the API key or token; else {KEY_VARIABLE}, or {KEY_VARIABLE}_FILE",
    )  # fmt: skip
    key.add_argument("--api-key", metavar="KEY", help="the same; other users see it in ps")
    tls = parser.add_argument_group("HTTPS")
    tls.add_argument("--ca", type=Path, metavar="FILE", help="authorities to trust, PEM")
    tls.add_argument("--insecure-tls", action="store_true", help="trust any certificate")
    ice = parser.add_argument_group("how the media go")
    ice.add_argument("--relay-only", action="store_true", help="through TURN alone")
    ice.add_argument(
        "--turn-url", metavar="URL", help="this TURN server, not those the service tells of"
    )
    ice.add_argument("--turn-username", default="", metavar="NAME", help="user name there")
    ice.add_argument(
        "--turn-credential-file", metavar="FILE",
        help=f"file with the password; else {TURN_VARIABLE}, or {TURN_VARIABLE}_FILE",
    )  # fmt: skip
    # By this /readyz?deep=1 reaches the very process that was asked.
    parser.add_argument("--unix-socket", default="", help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str]) -> int:
    """Place a call, print what came of it; the exit status."""
    # What aiortc and aioice say of a connection that ends is no news here.
    logging.basicConfig(level=logging.CRITICAL)
    try:
        arguments = build_parser().parse_args(list(argv))
        wanted = _wanted(arguments)
    except _Usage as error:
        print(f"voicecore probe: {error}; --help explains", file=sys.stderr)
        return 2
    from voicecore.service.probe.placing import place_call
    from voicecore.service.probe.report import Report

    def show(report: Report) -> None:
        print(report.as_text() if arguments.text else report.as_json(), flush=True)

    def hung() -> None:
        reason = "the probe itself hung; its stage is not known"
        show(Report(url=arguments.url, failed_stage="probe", reason=reason))
        os._exit(1)

    watchdog = threading.Timer(wanted.timeout_s + _HUNG_S, hung)
    watchdog.daemon = True
    watchdog.start()
    # Like Ctrl-C: the call is hung up on the way out.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = asyncio.run(place_call(wanted))
    except KeyboardInterrupt:
        return 130
    finally:
        watchdog.cancel()
        signal.signal(signal.SIGTERM, before)
    show(report)
    return 0 if report.ok else 1


def _wanted(arguments: argparse.Namespace) -> Wanted:
    from aiortc import RTCIceServer

    from voicecore.service.probe.placing import Wanted
    from voicecore.service.probe.signaling import Target

    url = urlsplit(arguments.url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise _Usage("URL wants http:// or https:// and a host, as http://127.0.0.1:8080/")
    if not SHORTEST_S <= arguments.timeout <= LONGEST_S:
        raise _Usage(f"--timeout wants {SHORTEST_S:g} to {LONGEST_S:g} s")
    if arguments.ca is not None and not arguments.ca.is_file():
        raise _Usage(f"--ca: there is no file {arguments.ca}")
    if arguments.api_key and arguments.key_file:
        raise _Usage("--api-key and --key-file are two ways to say the same: give one")
    if arguments.relay_only and arguments.client_offers and not arguments.turn_url:
        raise _Usage("--relay-only with --client-offers wants --turn-url: our offer comes first")
    key = arguments.api_key or _secret("--key-file", arguments.key_file, KEY_VARIABLE)
    servers: tuple[RTCIceServer, ...] = ()
    if arguments.turn_url:
        try:
            check_ice_url(arguments.turn_url)
        except ValueError as error:
            raise _Usage(f"--turn-url: {error}") from None
        file = arguments.turn_credential_file
        credential = _secret("--turn-credential-file", file, TURN_VARIABLE)
        servers = (RTCIceServer(arguments.turn_url, arguments.turn_username, credential),)
    target = Target(
        arguments.url.rstrip("/"),
        key,
        arguments.ca,
        not arguments.insecure_tls,
        arguments.unix_socket,
    )
    return Wanted(
        target,
        "client_offers" if arguments.client_offers else "server_offers",
        arguments.timeout,
        arguments.relay_only,
        servers,
    )


def _secret(flag: str, file: str | None, variable: str) -> str:
    try:
        if file:
            return read_secret(file)
    except ValueError as error:
        raise _Usage(f"{flag}: {error}") from None
    try:
        found = from_environment(variable)
    except ValueError as error:
        raise _Usage(str(error)) from None
    return found[0] if found else ""
