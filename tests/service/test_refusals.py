"""Callers who are turned away are counted once, whoever turned them away."""

from __future__ import annotations

from fakes.site import MakeSite, Site
from voicecore.core.overload import OverloadLevel
from voicecore.errors import PeerError


def refused(site: Site) -> dict[str, float]:
    families = site.metrics.registry.collect()
    samples = [s for f in families if f.name == "voicecore_calls_refused" for s in f.samples]
    return {s.labels["reason"]: s.value for s in samples if s.name.endswith("_total") and s.value}


async def test_whoever_refuses_it_is_counted(site: Site) -> None:
    post = site.client.post
    site.manager.explode = PeerError("slowly", code="rate_limited", status=429)
    assert (await post("/api/voice/session")).status == 429
    foreign = {"Origin": "https://evil.example"}
    assert (await post("/api/voice/session", headers=foreign)).status == 403
    site.ready.wait_for("engines", "the engines are loading")
    assert (await post("/api/voice/session")).status == 503
    found = refused(site)
    assert len(found) == 3
    assert all(count == 1 for count in found.values()), found
    assert {"rate_limited", "not_ready"} <= set(found)


async def test_other_faults_and_other_routes_are_no_refusals(make_site: MakeSite) -> None:
    site = await make_site()
    assert site.manager.overload_level is OverloadLevel.NORMAL
    bad = {"type": "offer", "sdp": "no SDP"}
    assert (await site.client.post("/api/voice/offer", json=bad)).status == 400
    opened = await site.open()
    url = f"/api/voice/session/{opened['session_id']}"
    wrong = {"Authorization": "Bearer wrong"}
    assert (await site.client.get(url, headers=wrong)).status == 403
    assert refused(site) == {}
