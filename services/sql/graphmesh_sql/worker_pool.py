"""Processes that execute queries, at most a given number; one that does not answer in time is killed.

A worker is reused after a query that ended well. What a query does to its process (memory, CPU time, files) is bounded
by the process's limits, and ends with it.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any, Final

import structlog
from graphmesh_chassis.errors import DatabaseUnavailable, DeadlineExceeded

from graphmesh_sql.domain import LimitExceeded, Rule, RuleBroken, Schema, Unanswerable
from graphmesh_sql.worker import frames
from graphmesh_sql.worker.settings import WorkerSettings

GRACE_SECONDS: Final = 0.3
"""Time after its deadline in which a worker may still report it; then it is killed."""
IDLE_SECONDS: Final = 30.0
"""Time after which a worker without work ends, but for the last one."""
MAX_QUERIES: Final = 500
"""Queries of a worker, so that fragmented memory does not accumulate."""
KILLED: Final = "the query used more memory or processor time than a query may use: read less, or aggregate"

log = structlog.get_logger("graphmesh.sql")


class WorkerPool:
    def __init__(self, settings: WorkerSettings, size: int) -> None:
        self._settings = settings
        self._size = size
        self._free = asyncio.Semaphore(size)
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._closed = False
        self._spare: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def worker(self) -> AsyncIterator["Worker"]:
        """Take a worker while the body runs. One that is in the middle of a request is killed at the end."""
        async with self._free:
            worker = self._idle.pop() if self._idle else await self._start()
            worker.cancel_retirement()
            self._keep_spare()
            try:
                yield worker
            finally:
                worker.uses += 1
                if worker.busy or worker.ended or worker.uses >= MAX_QUERIES or self._closed:
                    try:
                        await worker.end()
                    finally:
                        self._all.discard(worker)
                else:
                    self._idle.append(worker)
                    worker.retire_later(lambda: self._retire(worker))

    async def close(self) -> None:
        """Kill all workers, also those with a query."""
        self._closed = True
        if self._spare:
            await asyncio.gather(self._spare, return_exceptions=True)
        await asyncio.gather(*(worker.end() for worker in tuple(self._all)))

    def _keep_spare(self) -> None:
        """Where half of the workers are busy and none is idle, start one: the next query need not wait for it."""
        is_starting = self._spare is not None and not self._spare.done()
        if not self._idle and not is_starting and self._size // 2 <= len(self._all) < self._size:
            self._spare = asyncio.create_task(self._add_spare(), name="spare worker")

    async def _add_spare(self) -> None:
        with suppress(DatabaseUnavailable):
            worker = await self._start()
            self._idle.append(worker)
            worker.retire_later(lambda: self._retire(worker))

    async def _start(self) -> "Worker":
        try:
            worker = await Worker.start(self._settings)
        except OSError as error:
            raise DatabaseUnavailable from error
        self._all.add(worker)
        return worker

    def _retire(self, worker: "Worker") -> None:
        if len(self._idle) > 1 and worker in self._idle:
            self._idle.remove(worker)
            self._all.discard(worker)
            worker.kill()


class Worker:
    """A process that executes one request at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", reader: StreamReader, writer: StreamWriter) -> None:
        self.process = process
        self._reader, self._writer = reader, writer
        self.uses = 0
        self.busy = False
        """Whether a request has been sent whose last reply has not been read."""
        self.ended = False
        self._end: asyncio.Task[None] | None = None
        self._schema: Schema | None = None
        self._retirement: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, settings: WorkerSettings) -> "Worker":
        """Start a process: without `site`, whose work is what most of a start would take."""
        ours, theirs = socket.socketpair()
        paths = os.pathsep.join(filter(None, sys.path))
        environment = {**os.environ, "PYTHONPATH": paths, "MALLOC_ARENA_MAX": "1"}  # arenas take address space
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220  (it takes a millisecond, and needs no thread to be waited for)
                [sys.executable, "-S", "-W", "ignore", "-m", "graphmesh_sql.worker"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # a signal to the group of the service is not meant for a query that still runs
            )
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
            writer.write(json.dumps(asdict(settings)).encode() + b"\n")  # no argument, which every user can read
            return cls(process, reader, writer)
        except BaseException:
            ours.close()
            process.kill()
            process.wait()
            raise

    async def use_schema(self, schema: Schema, seconds: float) -> None:
        """Send the schema for the queries that follow, unless the worker has it."""
        if self._schema is not schema:
            await self.request(seconds, "schema", frames.plain(schema))
            self._schema = schema

    async def request(self, seconds: float, *request: Any) -> Any:
        """Send a request, and return the reply.

        Raises:
            RuleBroken, Unanswerable: the query is at fault.
            DeadlineExceeded: there is no reply within `seconds`; the worker has to be killed.
            DatabaseUnavailable: the database does not answer.
        """
        self.busy = True
        try:
            async with asyncio.timeout(max(0.0, seconds) + GRACE_SECONDS):
                reply = await self._exchange(frames.encode(request))
        except TimeoutError as error:
            raise DeadlineExceeded from error
        except (EOFError, ConnectionError, asyncio.IncompleteReadError) as error:
            self.ended = True
            raise LimitExceeded(KILLED) from error
        self.busy = reply[:1] == ("part",) and reply[1] != "End"
        return _result(reply, self)

    async def _exchange(self, request: bytes) -> Any:
        self._writer.write(request)
        await self._writer.drain()
        (size,) = frames.HEADER.unpack(await self._reader.readexactly(frames.HEADER.size))
        return frames.decode(await self._reader.readexactly(size))

    async def end(self) -> None:
        """Kill the process, and wait until it has ended, even if the caller is cancelled meanwhile."""
        if self._end is None:
            self.process.kill()
            self._end = asyncio.create_task(self._wait(), name="end of a worker")
        cancelled = False
        while not self._end.done():
            try:
                await asyncio.shield(self._end)
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError

    async def _wait(self) -> None:
        with suppress(OSError):
            while not self._reader.at_eof():  # the kernel closes the other side at its end
                try:
                    await self._reader.read(frames.HEADER.size * 1024)
                except RuntimeError:  # a request still reads, and ends now
                    await asyncio.sleep(0.005)
        self.kill()

    def kill(self) -> None:
        """Kill the process, which takes microseconds where it has no query or has ended already."""
        self.ended = True
        self.cancel_retirement()
        self._writer.transport.abort()
        self.process.kill()
        self.process.wait()

    def retire_later(self, retire: Callable[[], None]) -> None:
        self._retirement = asyncio.get_running_loop().call_later(IDLE_SECONDS, retire)

    def cancel_retirement(self) -> None:
        if self._retirement is not None:
            self._retirement.cancel()
            self._retirement = None


def _result(reply: Any, worker: Worker) -> Any:
    match reply:
        case "part" | "done", *_:
            return reply
        case "rule", rule, message:
            raise RuleBroken(Rule(rule), message)
        case "unanswerable", message:
            raise Unanswerable(message)
        case "limit", message:
            raise LimitExceeded(message)
        case "memory", message:
            worker.ended = True
            raise LimitExceeded(message)
        case ("stopped",):
            raise DeadlineExceeded
        case "unreachable", message:
            log.warning("the target database does not answer", cause=message)
            raise DatabaseUnavailable
    worker.ended = True
    raise RuntimeError(f"a worker failed: {reply[1]}")
