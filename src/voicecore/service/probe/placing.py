"""Placing the call: the stages one after the other, each with its own way to fail."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiortc import RTCIceServer

from voicecore.core.units import NS_PER_MS
from voicecore.service.probe import verdict
from voicecore.service.probe.client import Client, IceChoice
from voicecore.service.probe.report import Report, StageFailed, Stopwatch
from voicecore.service.probe.signaling import Signaling, Target

CLOSING_S = 1.0
"""Of the time allowed, kept for hanging up after a failure."""

_DUE = {
    "http": "no reply",
    "gathering": "finding our own candidates took too long: a STUN or TURN server does not reply?",
    "signaling": "no reply",
    "dtls": "the handshake was not completed",
    "hello": "no event came on the data channel",
    "audio_in": "no audio packet came from the agent",
    "greeting": "the agent's greeting did not end: give --timeout more than it lasts",
    "speech": "our speech could not be sent in time: is this machine overloaded?",
    "hangup": "no reply",
}


@dataclass(frozen=True)
class Wanted:
    """What kind of call. ``ice_servers`` empty: those that the service tells of."""

    target: Target
    flow: str = "server_offers"
    timeout_s: float = 20.0
    relay_only: bool = False
    ice_servers: tuple[RTCIceServer, ...] = field(default=(), repr=False)


async def place_call(wanted: Wanted, now_ns: Callable[[], int] = time.monotonic_ns) -> Report:
    """Go through all stages; never raises for what a service or a network does."""
    report = Report(url=wanted.target.url, flow=wanted.flow)
    watch = Stopwatch(report, now_ns)
    call = _Call(wanted, report, watch)
    try:
        async with asyncio.timeout(wanted.timeout_s - CLOSING_S):
            await call.place()
        report.ok = True
    except StageFailed as failure:
        report.failed_stage, report.reason = failure.stage or watch.under_way, failure.reason
    except TimeoutError:
        stage, reason = call.overdue(watch.under_way)
        report.failed_stage = stage
        report.reason = f"{reason} (given up after {wanted.timeout_s:g} s)"
    except Exception as error:  # what aiortc raises at what a service sent
        report.failed_stage = watch.under_way or "probe"
        report.reason = f"the client's own {type(error).__name__}: {error}"
    finally:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSING_S):
                await call.close()
        watch.stop()
    return report


class _Call:
    """One call under way."""

    def __init__(self, wanted: Wanted, report: Report, watch: Stopwatch) -> None:
        self._wanted = wanted
        self._report = report
        self._watch = watch
        self._signaling: Signaling | None = None
        self._client: Client | None = None
        self._asked_at = 0

    async def place(self) -> None:
        """All of it. Raises StageFailed, TimeoutError."""
        with self._watch.stage("http"):
            signaling = self._signaling = Signaling(self._wanted.target)
        if self._wanted.flow == "server_offers":
            client = await self._take_offer(signaling)
        else:
            client = await self._make_offer(signaling)
        await self._connect(client)
        await self._get_acquainted(client)
        await self._ask(client)
        with self._watch.stage("hangup"):
            self._report.packets = await client.packets()
            await signaling.hang_up()

    async def close(self) -> None:
        """Hang up if that was not done, and free everything."""
        signaling, client = self._signaling, self._client
        try:
            if client is not None and not self._report.packets:
                self._report.packets = await client.packets()
            if signaling is not None:
                await signaling.hang_up()
        finally:
            if signaling is not None:
                await signaling.close()
            if client is not None:
                await client.close()

    def overdue(self, stage: str) -> tuple[str, str]:
        """Which stage is to blame for the time being over in ``stage``, and what is wrong."""
        client = self._client
        if client is not None and stage == "ice":
            ours, theirs = client.candidates(remote=False), client.candidates(remote=True)
            return stage, _no_pair(ours, theirs)
        if client is not None and stage == "answer":
            return verdict.unanswered(self._since)
        return stage, _DUE.get(stage, "it took too long")

    # -- getting there --------------------------------------------------------------

    async def _take_offer(self, signaling: Signaling) -> Client:
        with self._watch.stage("http"):
            opened = await signaling.open()
            self._report.session_id = signaling.session_id
        with self._watch.stage("gathering"):
            client = self._client = Client(self._ice(opened))
            answer = await client.answer(opened["sdp"])
        with self._watch.stage("signaling"):
            await signaling.answer(answer)
        return client

    async def _make_offer(self, signaling: Signaling) -> Client:
        with self._watch.stage("gathering"):
            client = self._client = Client(self._ice({}))
            offer = await client.offer()
        with self._watch.stage("http"):
            opened = await signaling.offer(offer)
            self._report.session_id = signaling.session_id
        with self._watch.stage("signaling"):
            await client.take_answer(opened["sdp"])
        return client

    def _ice(self, opened: dict[str, Any]) -> IceChoice:
        servers = self._wanted.ice_servers or _servers_of(opened.get("ice_servers"))
        relay_only = self._wanted.relay_only or opened.get("ice_transport_policy") == "relay"
        if relay_only and not any(_is_turn(server) for server in servers):
            raise StageFailed("the service tells of no TURN server: turn_urls and turn_secret")
        return IceChoice(servers, relay_only)

    async def _connect(self, client: Client) -> None:
        with self._watch.stage("ice"):
            await client.until(lambda: client.ice_state in ("completed", "connected", "failed"))
            if client.ice_state == "failed":
                ours, theirs = client.candidates(remote=False), client.candidates(remote=True)
                raise StageFailed(_no_pair(ours, theirs))
        self._report.pair = client.pair()
        with self._watch.stage("dtls"):
            await client.until(lambda: client.state in ("connected", "failed", "closed"))
            if client.state != "connected":
                raise StageFailed("the DTLS handshake failed: another certificate than announced?")

    # -- talking --------------------------------------------------------------------

    async def _get_acquainted(self, client: Client) -> None:
        with self._watch.stage("hello"):
            await _until(client, lambda: verdict.first(client.events, "hello") is not None)
        with self._watch.stage("audio_in"):
            await _until(client, lambda: client.ear.first_ns is not None)
        first_ns = client.ear.first_ns
        assert first_ns is not None
        self._report.first_audio_in_ms = self._watch.since_start_ms(first_ns)
        with self._watch.stage("greeting"):
            await _until(client, lambda: "listening" in verdict.states(client.events))

    async def _ask(self, client: Client) -> None:
        self._asked_at = len(client.events)
        with self._watch.stage("speech"):
            client.mouth.speak()
            await _until(client, lambda: client.spoken_ns is not None)
        spoken_ns = client.spoken_ns
        assert spoken_ns is not None
        client.ear.begin()
        with self._watch.stage("answer"):
            await _until(client, lambda: self._answered(client) or verdict.given_up(self._since))
            if not self._answered(client):
                stage, reason = verdict.unanswered(self._since)
                raise StageFailed(reason, stage)
        heard_ns = client.ear.first_loud_ns
        assert heard_ns is not None
        self._report.answer_ms = round((heard_ns - spoken_ns) / NS_PER_MS, 1)
        self._report.answer_dbfs = client.ear.level_dbfs
        told = verdict.first(self._since, "latency") or {}
        self._report.server_ms = {
            name: float(value)
            for name, value in told.items()
            if name.endswith("_ms") and name != "t_ms" and isinstance(value, int | float)
        }

    @property
    def _since(self) -> Sequence[verdict.Event]:
        """The events since we began to speak."""
        return self._client.events[self._asked_at :] if self._client is not None else ()

    def _answered(self, client: Client) -> bool:
        return verdict.answered(self._since, client.ear.loud_frames)


async def _until(client: Client, holds: Callable[[], bool]) -> None:
    """Wait for it, unless something ends or spoils the call meanwhile."""

    def settled() -> bool:
        _check_spoiled(client)
        return holds()

    await client.until(settled)


def _check_spoiled(client: Client) -> None:
    trouble = verdict.spoiled(client.events)
    if trouble is not None:
        stage, reason = trouble
        raise StageFailed(reason, stage)
    if client.state in ("failed", "closed"):
        raise StageFailed("the connection was lost")


def _servers_of(told: object) -> tuple[RTCIceServer, ...]:
    """What a reply's ``ice_servers`` says."""
    entries = told if isinstance(told, list) else []
    return tuple(
        RTCIceServer(one["urls"], one.get("username"), one.get("credential"))
        for one in entries
        if isinstance(one, dict) and "urls" in one
    )


def _is_turn(server: RTCIceServer) -> bool:
    urls = [server.urls] if isinstance(server.urls, str) else server.urls
    return any(str(url).startswith("turn") for url in urls)


def _no_pair(ours: list[str], theirs: list[str]) -> str:
    return (
        "no way was found between"
        f" {', '.join(ours) or 'no candidate of ours'} and"
        f" {', '.join(theirs) or 'no candidate of the service'}:"
        " is the UDP port open, and public_ip right behind a NAT?"
    )
