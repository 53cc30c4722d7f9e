"""The loop of a worker: a request, then its parts one by one, as the service wants them.

    python -S -m graphmesh_sql.worker

The first line of stdin is a `WorkerSettings` as JSON: it may have the password of the database. Then requests and
replies are frames on stdin and stdout. A worker that runs out of memory says so and ends: what a failed allocation
leaves behind is not reused.
"""

import gc
import json
import os
import sys
from collections.abc import Generator
from typing import Any

from graphmesh_sql.domain import Dialect, LimitExceeded, RuleBroken, Schema, Stopped, Unanswerable, Unreachable
from graphmesh_sql.worker import frames
from graphmesh_sql.worker.engine import Engine
from graphmesh_sql.worker.limits import die_with, limit_cpu, limit_process
from graphmesh_sql.worker.settings import WorkerSettings

OUT_OF_MEMORY = "the query needs more memory than a query may use: read less, or aggregate"


def main() -> None:
    settings = WorkerSettings(**json.loads(sys.stdin.buffer.readline()))
    die_with(settings.parent)
    session = Session(open_engine(settings))
    gc.freeze()
    limit_process(settings.memory_bytes, settings.temp_bytes)
    replies, sys.stdout = sys.stdout.buffer, sys.stderr  # nothing but frames is written to the pipe
    try:
        while True:
            reply = session.reply(frames.read(sys.stdin.buffer))
            replies.write(frames.encode(reply))
            replies.flush()
            if reply[0] in ("memory", "defect"):
                os._exit(1)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the service has ended; a connection need not be closed


class Session:
    """The requests of the service, one after the other; `next` asks for the next part of the present one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._schema = Schema(Dialect.SQLITE, (), ())
        self._parts: Generator[Any] = self._begin("nothing", [])

    def reply(self, request: Any) -> Any:
        try:
            operation, *arguments = request
            if operation != "next":
                self._parts.close()
                self._parts = self._begin(operation, arguments)
            return next(self._parts)
        except RuleBroken as error:
            return "rule", error.rule.value, str(error)
        except LimitExceeded as error:
            return "limit", str(error)
        except Unanswerable as error:
            return "unanswerable", str(error)
        except Stopped:
            return ("stopped",)
        except Unreachable as error:
            return "unreachable", str(error)
        except MemoryError:
            return "memory", OUT_OF_MEMORY
        except Exception as error:  # a query whose meaning is not understood is not run
            return "defect", f"{type(error).__name__}: {error}"

    def _begin(self, operation: str, arguments: list[Any]) -> Generator[Any]:
        match operation, arguments:
            case "query", [plain]:
                query = frames.query_of(plain)
                limit_cpu(query.limits.seconds)
                for part in self._engine.query(query, self._schema):
                    yield "part", type(part).__name__, frames.plain(part)
            case "describe", [role, seconds]:
                limit_cpu(seconds)
                yield "done", frames.plain(self._engine.describe(role))
            case "schema", [schema]:
                self._schema = frames.schema_of(schema)
                yield ("done",)
            case "ping", [seconds]:
                limit_cpu(seconds)
                yield "done", self._engine.ping()


def open_engine(settings: WorkerSettings) -> Engine:
    if settings.target.startswith("postgresql"):
        from graphmesh_sql.worker.postgresql import PostgresEngine

        return PostgresEngine(settings)
    from graphmesh_sql.worker.sqlite import SqliteEngine

    return SqliteEngine(settings)


if __name__ == "__main__":
    main()
