"""The description of the API: as the routes are, and no answer that isn't in it."""

from __future__ import annotations

import asyncio
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fakes.site import Site
from voicecore.service.openapi import PATH, description
from voicecore.service.session_ids import SessionIds

_UNDESCRIBED = {"/metrics"}
"""For scrapers: Prometheus' own format, and not here once there is an admin listener."""


async def test_each_route_is_described_and_nothing_else(site: Site) -> None:
    async with site.client.get(PATH) as reply:
        assert reply.content_type == "application/json"
        document = await reply.json()
    described = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    app = site.client.app
    assert isinstance(app, web.Application)
    routes = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    public = {
        (method, path)
        for method, path in routes
        if "." not in path.rpartition("/")[2].removesuffix(".json") and path != "/"
    }
    assert described == {route for route in public if route[1] not in _UNDESCRIBED}


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [
            found
            for name, value in node.items()
            for found in ([value] if name == "$ref" else references(value))
        ]
    return [found for item in node for found in references(item)] if isinstance(node, list) else []


@pytest.mark.parametrize(("instance", "worker"), [("", None), ("", 3), ("x" * 63, 255)])
def test_the_names_of_sessions_are_as_described(instance: str, worker: int | None) -> None:
    path = description("1")["paths"]["/api/voice/session/{session_id}"]
    (named,) = path["parameters"]
    name = SessionIds(instance, worker).new()
    assert re.search(named["schema"]["pattern"], name)
    assert len(name) <= named["schema"]["maxLength"]


def test_the_document_holds_together() -> None:
    document = description("1.2.3")
    assert document["openapi"].startswith("3.1")
    found = references(document)
    assert len(found) > 50
    for reference in found:
        node: Any = document
        for name in reference.removeprefix("#/").split("/"):
            node = node[name]
    for item in document["paths"].values():
        for operation in (value for name, value in item.items() if name != "parameters"):
            assert operation["summary"]
            assert {"400", "403"} < set(operation["responses"])
            assert "500" not in operation["responses"]
    for status in (429, 503):
        assert "Retry-After" in document["components"]["responses"][f"E{status}"]["headers"]


@pytest.mark.slow
async def test_no_answer_is_undescribed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from caller.server import running
    from ops import schema

    for name in [name for name in os.environ if name.startswith("VOICECORE_")]:
        monkeypatch.delenv(name)
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    log = tmp_path / "service.log"
    async with running(*schema.FLAGS, log=log) as server:
        found = await asyncio.to_thread(schema.examine, server, schema.QUICK_CASES, seed)
    assert found.failures == []
    assert found.cases >= schema.QUICK_CASES
    assert {200, 204, 400, 401, 404, 422} <= set(found.statuses), "it went past the door"
    assert found.statuses[500] == 0
    assert found.alive
    assert "Traceback" not in log.read_text()
