"""The page: what is served, how it is cached, what it may do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fakes.site import Site
from voicecore.service.console_routes import CONSOLE_DIR, CONTENT_TYPES


async def test_page_and_modules_are_served(site: Site) -> None:
    for path in ("/", "/index.html"):
        reply = await site.client.get(path)
        assert reply.status == 200
        assert reply.content_type == "text/html"
        assert "<title>call" in await reply.text()
    reply = await site.client.get("/js/main.js")
    assert reply.content_type == "text/javascript"


async def test_page_is_locked_down(site: Site) -> None:
    headers = (await site.client.get("/")).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "microphone=(self)" in headers["Permissions-Policy"]


async def test_browsers_ask_again_and_get_304(site: Site, console_dir: Path) -> None:
    reply = await site.client.get("/js/main.js")
    etag = reply.headers["ETag"]
    assert reply.headers["Cache-Control"] == "no-cache"
    reply = await site.client.get("/js/main.js", headers={"If-None-Match": f'"x", {etag}'})
    assert reply.status == 304
    assert await reply.read() == b""
    file = console_dir / "js" / "main.js"
    file.write_text("export const answer = 43;\n")
    os.utime(file, ns=(1, 1))
    reply = await site.client.get("/js/main.js", headers={"If-None-Match": etag})
    assert reply.status == 200
    assert "43" in await reply.text()


@pytest.mark.parametrize(
    "path",
    [
        "/notes.md",
        "/link.js",
        "/../secret.js",
        "/js/%2e%2e/%2e%2e/secret.js",
        "/js/..%2f..%2fsecret.js",
        "/js",
        "/js/",
    ],
)
async def test_nothing_else_is_served(site: Site, path: str) -> None:
    reply = await site.client.get(path)
    assert reply.status == 404
    assert "outside" not in await reply.text()


async def test_head_has_no_body(site: Site) -> None:
    reply = await site.client.head("/")
    assert reply.status == 200
    assert int(reply.headers["Content-Length"]) > 0


def test_the_packaged_page_is_complete() -> None:
    assert (CONSOLE_DIR / "index.html").is_file()
    for path in CONSOLE_DIR.rglob("*"):
        assert path.is_dir() or path.suffix in CONTENT_TYPES, path.name
