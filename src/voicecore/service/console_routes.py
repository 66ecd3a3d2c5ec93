"""The console page: static files beside this module, served from memory.

A route for each file that exists when the server starts, so no path can lead
out of the folder. Browsers ask each time (``no-cache``) and are answered 304
while nothing changed: an update is seen at once and costs no download else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ETag, web
from aiohttp.typedefs import Handler

CONSOLE_DIR = Path(__file__).parent / "console"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " media-src 'self' blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), display-capture=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}


@dataclass(slots=True)
class _File:
    """A file's bytes as of ``stamp`` (mtime in ns, size)."""

    path: Path
    content_type: str
    stamp: tuple[int, int] = (0, -1)
    body: bytes = b""
    etag: str = ""

    def refresh(self) -> None:
        """Read the file again if it changed; keep the old bytes if it is gone."""
        try:
            stat = self.path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp != self.stamp:
                self.body = self.path.read_bytes()
                self.etag = hashlib.sha256(self.body).hexdigest()[:32]
                self.stamp = stamp
        except FileNotFoundError:
            return


def add_console(app: web.Application, folder: Path = CONSOLE_DIR) -> None:
    """Serve every file of a known type in ``folder`` at its relative path, index at ``/``."""
    for name, handler in handlers_of(folder, PAGE_HEADERS).items():
        app.router.add_get(f"/{name}", handler)
        if name == "index.html":
            app.router.add_get("/", handler)


def handlers_of(folder: Path, headers: Mapping[str, str]) -> dict[str, Handler]:
    """A handler for each file of a known type in ``folder``, by its relative path.

    Replies carry ``headers``.
    """
    handlers = {}
    for path in sorted(folder.rglob("*")):
        content_type = CONTENT_TYPES.get(path.suffix)
        if content_type is None or path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        handlers[name] = _serve(_File(path, content_type), headers)
    return handlers


def _serve(file: _File, fixed: Mapping[str, str]) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        file.refresh()
        headers = {**fixed, "ETag": f'"{file.etag}"'}
        if _matches(request.if_none_match, file.etag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, headers={**headers, "Content-Type": file.content_type})

    return serve


def _matches(wanted: tuple[ETag, ...] | None, etag: str) -> bool:
    return any(item.value in ("*", etag) for item in wanted or ())
