"""How often a service calls itself, who shares a call, and what ``/readyz?deep=1`` says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from fakes.site import MakeSite, Site
from fakes.virtual_loop import virtually
from voicecore.service.probe.deep_check import DeepCheck
from voicecore.service.probe.deep_metrics import DeepMetrics
from voicecore.service.probe.report import Report

GOOD = Report(ok=True, answer_ms=460.0, stages_ms={"http": 3.0}, session_id="s", url="u")
BAD = Report(failed_stage="stt", reason="no key", session_id="s")


class Caller:
    """Calls that last ``takes_s`` and come to what ``outcomes`` say, the last one for good."""

    def __init__(self, takes_s: float, *outcomes: Report | Exception) -> None:
        self.began_s: list[float] = []
        self.broken_off = 0
        self._takes_s = takes_s
        self._outcomes = list(outcomes)

    async def __call__(self) -> Report:
        self.began_s.append(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(self._takes_s)
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_calls_begin_a_period_apart_however_often_somebody_asks() -> None:
    async def main() -> None:
        caller = Caller(3.0, GOOD)
        deep = DeepCheck(caller, period_s=60.0)
        start_s = asyncio.get_running_loop().time()
        ages = []
        for _ in range(200):
            ages.append((await deep.look()).age_s)
            await asyncio.sleep(1.0)
        assert [at - start_s for at in caller.began_s] == [0.0, 60.0, 120.0, 180.0]
        assert ages[0] == 0.0
        assert max(ages) == 56.0

    virtually(main())


def test_requests_at_the_same_time_share_a_call() -> None:
    async def main() -> None:
        caller = Caller(3.0, GOOD)
        deep = DeepCheck(caller, period_s=1.0)
        looks = await asyncio.gather(*(deep.look() for _ in range(50)))
        assert len(caller.began_s) == 1
        assert {look.report is GOOD and not look.running for look in looks} == {True}

    virtually(main())


def test_who_goes_away_does_not_take_the_call_with_him() -> None:
    async def main() -> None:
        deep = DeepCheck(Caller(3.0, GOOD), period_s=60.0)
        impatient = asyncio.create_task(deep.look())
        await asyncio.sleep(1.0)
        impatient.cancel()
        assert (await deep.look()).report is GOOD

    virtually(main())


def test_a_wait_is_bounded_and_ends_with_what_is_known() -> None:
    async def main() -> None:
        deep = DeepCheck(Caller(20.0, GOOD), period_s=60.0, wait_s=15.0)
        first = await deep.look()
        assert (first.report, first.running) == (None, True)
        assert first.trouble is not None
        assert first.trouble[0] == "deep_check_running"
        await asyncio.sleep(60.0)
        later = await deep.look()
        assert (later.report, later.running, later.trouble) == (GOOD, True, None)
        assert later.age_s == 70.0

    virtually(main())


def test_no_call_begins_where_none_would_be_taken() -> None:
    async def main() -> None:
        caller = Caller(2.0, GOOD)
        deep = DeepCheck(caller, period_s=60.0)
        look = await deep.look(may_begin=False)
        assert (caller.began_s, look.running) == ([], False)
        assert look.trouble is not None
        assert look.trouble[0] == "deep_check_waits"
        await deep.look()
        await asyncio.sleep(100.0)
        assert (await deep.look(may_begin=False)).trouble is None
        assert len(caller.began_s) == 1

    virtually(main())


def test_a_failure_names_its_stage_until_the_next_call_does_better() -> None:
    async def main() -> None:
        deep = DeepCheck(Caller(2.0, BAD, GOOD), period_s=60.0)
        await deep.look()
        await asyncio.sleep(10.5)
        assert (await deep.look()).trouble == (
            "deep_check_failed",
            "a call to ourselves failed 10 s ago at stt: no key",
            48,
        )
        await asyncio.sleep(47.5)
        assert (await deep.look()).trouble is None

    virtually(main())


def test_a_call_that_can_t_be_placed_is_a_failure_too() -> None:
    async def main() -> None:
        told: list[Report] = []
        deep = DeepCheck(Caller(0.0, OSError("secret")), 60.0, on_result=told.append)
        look = await deep.look()
        assert look.report is told[0]
        assert (told[0].failed_stage, told[0].reason) == ("probe", "OSError")

    virtually(main())


def test_closing_breaks_a_call_off_and_places_no_other() -> None:
    async def main() -> None:
        caller = Caller(20.0, GOOD)
        deep = DeepCheck(caller, period_s=1.0)
        asking = asyncio.create_task(deep.look())
        await asyncio.sleep(5.0)
        await deep.close()
        await deep.close()
        assert caller.broken_off == 1
        assert (await asking).report is None
        await asyncio.sleep(5.0)
        await deep.look()
        assert len(caller.began_s) == 1

    virtually(main())


def test_results_are_counted_by_stage() -> None:
    registry = CollectorRegistry()
    metrics = DeepMetrics(registry)
    for report in (GOOD, BAD, BAD):
        metrics.take(report)
    name = "voicecore_deep_checks_total"
    assert registry.get_sample_value(name, {"result": "ok", "stage": "none"}) == 1
    assert registry.get_sample_value(name, {"result": "failed", "stage": "stt"}) == 2
    assert registry.get_sample_value("voicecore_deep_check_answer_seconds") == 0.46


# -- over HTTP --------------------------------------------------------------------------


async def deep_site(make_site: MakeSite, *outcomes: Report) -> tuple[Site, Caller]:
    caller = Caller(0.0, *outcomes)
    return await make_site(limit=1, deep=DeepCheck(caller, period_s=3600.0)), caller


async def test_deep_readiness_tells_of_the_call(make_site: MakeSite) -> None:
    site, caller = await deep_site(make_site, GOOD)
    for _ in range(3):
        reply = await site.client.get("/readyz?deep=1")
        assert reply.status == 200
        deep = (await reply.json())["deep"]
        assert (deep["answer_ms"], deep["stages_ms"], deep["running"]) == (
            460.0,
            {"http": 3},
            False,
        )
        assert 0 <= deep["age_s"] < 60
        assert not {"url", "session_id"} & set(deep)
    assert len(caller.began_s) == 1


async def test_deep_readiness_says_where_it_failed(make_site: MakeSite) -> None:
    site, _ = await deep_site(make_site, BAD)
    reply = await site.client.get("/readyz?deep=1")
    assert (reply.status, (await reply.json())["error"]["code"]) == (503, "deep_check_failed")
    assert 3500 < int(reply.headers["Retry-After"]) <= 3600
    assert "at stt: no key" in (await reply.json())["error"]["message"]
    assert (await site.client.get("/readyz")).status == 200


async def test_no_call_is_placed_where_none_would_be_taken(make_site: MakeSite) -> None:
    site, caller = await deep_site(make_site, GOOD)

    def draining() -> None:
        site.manager.draining = True

    def loading() -> None:
        site.ready.wait_for("engines", "the engines are loading")

    changes: list[Callable[[], None]] = [draining, loading]
    await site.open()  # the only place
    for change in (lambda: None, *changes):
        change()
        reply = await site.client.get("/readyz?deep=1")
        assert (reply.status, bool(reply.headers["Retry-After"])) == (503, True)
        assert "no call was placed" in (await reply.json())["error"]["message"]
        assert "no call was placed" not in await (await site.client.get("/readyz")).text()
    assert caller.began_s == []


async def test_what_deep_may_be(make_site: MakeSite) -> None:
    site, caller = await deep_site(make_site, GOOD)
    assert (await site.client.get("/readyz?deep=0")).status == 200
    reply = await site.client.get("/readyz?deep=yes")
    assert (reply.status, (await reply.json())["error"]["code"]) == (422, "wrong_value")
    assert caller.began_s == []
    plain = await make_site()
    reply = await plain.client.get("/readyz?deep=1")
    assert (reply.status, (await reply.json())["error"]["code"]) == (404, "no_deep_check")
