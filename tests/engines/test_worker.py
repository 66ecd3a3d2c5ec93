"""The life of a worker process: it may hang, babble, die; the server goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engines.worker_kit import Recorder, children, open_fds, settle
from voicecore.engines.framing import Kind, pack
from voicecore.engines.pool import WorkerPool
from voicecore.engines.worker import MAX_OUTBOX, Worker
from voicecore.engines.worker_side import Link
from voicecore.errors import EngineError, MissingLibraryError, MisuseError

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def toy_on_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))


def make(start="ok", **options):
    return Worker("toy_worker", {"start": start}, engine="toy", **options)


def make_pool(workers=1, max_waiting=2, wait_s=5.0, streams=1):
    return WorkerPool(
        "toy_worker",
        {},
        engine="toy",
        workers=workers,
        max_waiting=max_waiting,
        wait_s=wait_s,
        busy_code="toy_busy",
        streams=streams,
    )


async def echo(opener):
    """One whole stream; True if what was sent came back."""
    handler = Recorder()
    channel = opener({"mode": "echo"}, handler)
    if asyncio.iscoroutine(channel):
        channel = await channel
    channel.send(Kind.AUDIO, b"abcd" * 100)
    channel.send(Kind.FINISH)
    await handler.until(lambda h: h.ended or h.error)
    return [f.kind for f in handler.frames] == [Kind.AUDIO, Kind.END] and (
        handler.frames[0].payload == b"abcd" * 100
    )


async def test_echo_survives_a_library_that_prints():
    worker = make()
    await worker.start()
    assert worker.info == {"toy": True}
    assert await echo(worker.open)
    assert await echo(worker.open)
    await worker.close()
    assert worker.pid is None


async def test_killed_worker_fails_its_streams_and_the_next_one_works():
    worker = make()
    await worker.start()
    handlers = [Recorder(), Recorder()]
    for handler in handlers:
        worker.open({}, handler)
    victim = worker.pid
    os.kill(victim, signal.SIGKILL)
    for handler in handlers:
        await handler.until(lambda h: h.error)
        assert handler.error.code == "worker_lost"
        assert handler.error.engine == "toy"
    await settle(lambda: worker.ready)
    assert worker.pid != victim
    assert worker.restarts == 1
    assert await echo(worker.open)
    await worker.close()


async def test_no_zombie_and_no_descriptor_is_left():
    worker = make()
    await worker.start()
    await worker.close()  # whatever asyncio opens once is open now
    fds, kids = open_fds(), children()
    for _ in range(3):
        worker = make()
        await worker.start()
        handler = Recorder()
        worker.open({}, handler)
        os.kill(worker.pid, signal.SIGKILL)
        await handler.until(lambda h: h.error)
        await settle(lambda worker=worker: worker.ready)
        await worker.close()
    assert children() == kids
    await settle(lambda: open_fds() == fds)


async def test_open_while_down_is_refused():
    worker = make()
    with pytest.raises(EngineError, match="not running"):
        worker.open({}, Recorder())
    await worker.start()
    await worker.close()
    with pytest.raises(EngineError, match="not running"):
        worker.open({}, Recorder())


async def test_close_fails_open_streams():
    worker = make()
    await worker.start()
    handler = Recorder()
    worker.open({}, handler)
    await worker.close()
    assert handler.error.code == "worker_lost"


@pytest.mark.parametrize(
    ("start", "error", "code"),
    [
        ("missing", MissingLibraryError, "missing_library"),
        ("exit", EngineError, "worker_lost"),
        ("hang", EngineError, "worker_timeout"),
    ],
)
async def test_failed_start_raises_and_leaves_nothing(start, error, code):
    before = children()
    worker = make(start, ready_timeout_s=60.0 if start != "hang" else 0.5)
    with pytest.raises(error) as caught:
        await worker.start()
    assert caught.value.code == code
    assert children() == before


async def test_garbage_from_the_worker_ends_it():
    worker = make()
    await worker.start()
    handler = Recorder()
    worker.open({"mode": "garbage"}, handler).send(Kind.AUDIO, b"xx")
    await handler.until(lambda h: h.error)
    await settle(lambda: worker.ready)
    assert await echo(worker.open)
    await worker.close()


async def test_worker_that_stops_reading_is_killed():
    worker = make()
    await worker.start()
    handler = Recorder()
    channel = worker.open({"mode": "deaf"}, handler)
    for _ in range(MAX_OUTBOX // (1 << 20) + 2):
        channel.send(Kind.AUDIO, bytes(1 << 20))
    await handler.until(lambda h: h.error)
    await settle(lambda: worker.ready)
    await worker.close()


async def test_abandoned_stream_is_cancelled_in_the_middle_of_work():
    worker = make()
    await worker.start()
    closed = asyncio.Event()
    handler = Recorder()
    channel = worker.open({"mode": "busy"}, handler, closed.set)
    channel.send(Kind.AUDIO, b"xx")
    channel.abandon()
    await asyncio.wait_for(closed.wait(), 60)
    assert handler.frames == []
    assert worker.restarts == 0
    await worker.close()


async def test_worker_that_does_not_confirm_a_cancel_is_killed():
    worker = make()
    await worker.start()
    closed = asyncio.Event()
    channel = worker.open({"mode": "deaf"}, Recorder(), closed.set)
    channel.send(Kind.AUDIO, b"xx")
    channel.abandon(limit_s=0.1)
    await asyncio.wait_for(closed.wait(), 60)
    await settle(lambda: worker.ready)
    assert worker.restarts == 1
    await worker.close()


async def test_faulty_handler_does_not_harm_others():
    class Faulty(Recorder):
        def handle_frame(self, frame):
            super().handle_frame(frame)
            raise RuntimeError("bug of the caller")

    worker = make()
    await worker.start()
    bad = Faulty()
    channel = worker.open({}, bad)
    channel.send(Kind.AUDIO, b"xx")
    channel.send(Kind.FINISH)
    await bad.until(lambda h: h.ended)
    assert await echo(worker.open)
    await worker.close()


async def test_pool_lends_in_the_order_of_asking():
    pool = make_pool()
    await pool.start()
    first = Recorder()
    channel = await pool.open({}, first)
    waiting = [asyncio.create_task(echo(pool.open)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(EngineError) as caught:
        await pool.open({}, Recorder())
    assert caught.value.code == "toy_busy"
    assert not any(task.done() for task in waiting)
    channel.send(Kind.FINISH)
    assert await asyncio.gather(*waiting) == [True, True]
    await pool.close()


async def test_pool_wait_is_bounded_and_leaks_no_worker():
    pool = make_pool(wait_s=0.05)
    await pool.start()
    channel = await pool.open({}, Recorder())
    with pytest.raises(EngineError) as caught:
        await pool.open({}, Recorder())
    assert caught.value.code == "toy_busy"
    impatient = asyncio.create_task(pool.open({}, Recorder()))
    await asyncio.sleep(0)
    channel.abandon()
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    await settle(lambda: channel.closed)
    assert await echo(pool.open)
    await pool.close()


async def test_pool_goes_on_with_the_others_when_one_dies():
    pool = make_pool(workers=2)
    await pool.start()
    handler = Recorder()
    await pool.open({}, handler)
    os.kill(pool.workers[0].pid, signal.SIGKILL)
    await handler.until(lambda h: h.error)
    assert await echo(pool.open)
    await settle(lambda: pool.workers[0].ready)
    await pool.close()


ORPHAN = """
import asyncio, sys
from voicecore.engines.worker import Worker
async def main():
    worker = Worker("toy_worker", {}, engine="toy")
    await worker.start()
    print(worker.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_worker_dies_with_a_killed_server():
    server = subprocess.Popen(
        [sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True, env=_with_source()
    )
    worker_pid = int(server.stdout.readline())
    server.kill()
    server.wait()
    server.stdout.close()
    asyncio.run(settle(lambda: not _alive(worker_pid)))


def _with_source():
    import voicecore

    root = Path(next(iter(voicecore.__path__))).parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(HERE)])}


def _alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # whoever adopted it may be slow to bury it


async def test_a_worker_that_serves_several_gets_the_streams_that_the_others_have_no_room_for():
    pool = make_pool(workers=2, streams=2, wait_s=0.05)
    await pool.start()
    channels = [await pool.open({}, Recorder()) for _ in range(4)]
    with pytest.raises(EngineError) as caught:
        await pool.open({}, Recorder())
    assert caught.value.code == "toy_busy"
    channels[2].abandon()
    assert await echo(pool.open)
    await pool.close()


async def test_a_pool_is_started_once_and_used_while_it_is():
    pool = make_pool()
    with pytest.raises(MisuseError, match="toy"):
        await pool.open({}, Recorder())
    await pool.start()
    pid = pool.workers[0].pid
    await pool.start()
    assert pool.workers[0].pid == pid
    await pool.close()
    await pool.close()
    with pytest.raises(MisuseError):
        await pool.open({}, Recorder())
    assert children() == []


async def test_what_the_settings_got_wrong_is_misuse():
    with pytest.raises(MisuseError, match="no such thing"):
        await make("misuse").start()
    assert children() == []


async def test_closing_while_the_worker_dies_comes_to_an_end():
    for turns in range(12):
        worker = make()
        await worker.start()
        handler = Recorder()
        worker.open({}, handler)
        os.kill(worker.pid, signal.SIGKILL)
        await handler.until(lambda h: h.error)
        for _ in range(turns // 3):
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await worker.close()
    assert children() == []


def test_a_stream_whose_audio_waits_too_long_loses_its_own_and_no_other():
    read_fd, write_fd = os.pipe()
    nowhere_fd = os.open(os.devnull, os.O_WRONLY)
    link = Link(read_fd, nowhere_fd)
    second = bytes(32_000)

    def send(stream):
        os.write(write_fd, pack(Kind.AUDIO, stream, second))
        assert link.waiting

    send(2)
    for _ in range(63):
        send(1)
    received = [link.receive(0).stream for _ in range(61)]
    assert (received[0], set(received[1:])) == (2, {1})
    assert link.receive(0) is None
    assert (link.forget(1), link.forget(2)) == (3 * len(second), 0)
    assert link.forget(1) == 0
    for fd in (read_fd, write_fd, nowhere_fd):
        os.close(fd)
