"""The smallest aiortc server, on voicecore's audio path by one line.

``python examples/aiortc_echo.py`` serves ``POST /offer`` (``{"type": "offer", "sdp": …}``,
answered likewise) and says back what it hears. ``--stock`` leaves the line out.
"""

import sys

from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription

from voicecore.aiortc import native_audio

STOCK = "--stock" in sys.argv
calls = set()


async def offer(request):
    """Answer one call."""
    pc = RTCPeerConnection()
    if not STOCK:
        native_audio(pc)  # the line
    calls.add(pc)

    @pc.on("track")
    def echo(track):
        if track.kind == "audio":
            pc.addTrack(track)

    @pc.on("connectionstatechange")
    async def end():
        if pc.connectionState in ("failed", "closed"):
            await pc.close()
            calls.discard(pc)

    await pc.setRemoteDescription(RTCSessionDescription(**await request.json()))
    await pc.setLocalDescription(await pc.createAnswer())
    return web.json_response({"type": "answer", "sdp": pc.localDescription.sdp})


async def hang_up(app):
    """End all calls."""
    for pc in list(calls):
        await pc.close()


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/offer", offer)
    app.on_shutdown.append(hang_up)
    web.run_app(app, port=8080)
