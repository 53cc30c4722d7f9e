"""Errors as commands show them: a sentence or a JSON object on standard error, and an exit code."""

import contextlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any

import typer
from typer.exceptions import TyperException

from graphmesh_cli.terminal import escaped, printable


class ExitCode(IntEnum):
    """The exit codes of all commands."""

    SUCCESS = 0
    FAILED = 1
    """The run failed, the mesh refused the call, or a part of the work was refused."""
    USAGE = 2
    """An option, an argument or a file that one names is wrong. Nothing was changed."""
    PARKED = 3
    """The run waits for an answer."""
    UNAVAILABLE = 4
    """No mesh runs, or it does not respond: the same command may succeed later."""
    INTERRUPTED = 130
    """Ctrl-C."""
    PIPE_CLOSED = 141
    """The reader of the output has gone, as after `graphmesh runs | head -1`."""


class Failure(Exception):
    """A command failed; the message is one sentence for its user."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        advice: str = "",
        violations: Iterable[tuple[str, str]] = (),
        exit_code: ExitCode = ExitCode.FAILED,
    ) -> None:
        """
        Args:
            reason: the reason of an error of the mesh, such as `THREAD_BUSY`.
            advice: a further line, with the command that helps.
            violations: fields of the request with the rules that they break.
        """
        super().__init__(message)
        self.reason, self.advice, self.exit_code = reason, advice, exit_code
        self.violations = [{"field": field, "rule": rule} for field, rule in violations]

    def show(self, as_json: bool) -> None:
        """Write it to standard error."""
        if as_json:
            return _write_json(self._fields(), self.exit_code)
        text = f"{self.reason}: {self}" if self.reason else str(self)
        typer.secho(printable(text), err=True, fg=typer.colors.RED)
        if self.advice:
            typer.secho(f"  {printable(self.advice)}", err=True, dim=True)
        return None

    def _fields(self) -> Mapping[str, Any]:
        return {
            "reason": self.reason,
            "message": str(self),
            "violations": self.violations,
            "advice": self.advice,
        }


def exit_code_of(command: Callable[[], Any], words: Sequence[str]) -> int:
    """Call a command and return its exit code. An error is shown, as JSON where `words` have --json.

    Raises:
        Exception: a defect of the command.
    """
    as_json = "--json" in words
    try:
        code = command()
        sys.stdout.flush()
    except TyperException as error:
        return _show_usage_error(error, as_json)
    except typer.Abort:
        return int(ExitCode.INTERRUPTED)
    except SystemExit as exit_:  # Typer's own, for a closed pipe
        if not isinstance(exit_.__context__, BrokenPipeError):
            raise
        return int(ExitCode.PIPE_CLOSED)
    except BrokenPipeError:
        _discard_output()
        return int(ExitCode.PIPE_CLOSED)
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        failure.show(as_json)
        return int(failure.exit_code)
    return int(code) if isinstance(code, int) else 0


def usage_error(message: str) -> Failure:
    """Return the failure of wrong options or arguments, where no single one of them is wrong."""
    return Failure(message, exit_code=ExitCode.USAGE)


def failure_of(error: Exception) -> Failure | None:
    """Return what a command shows of an error; None for a defect, whose traceback is shown."""
    from google.protobuf.json_format import ParseError  # here, so that `graphmesh --help` imports none of them
    from graphmesh_chassis.errors import DependencyError, GraphmeshError
    from graphmesh_local.errors import LocalError
    from graphmesh_local.state_folder import NoMesh
    from graphmesh_mesh.envoy.validate import EnvoyRefusal
    from graphmesh_mesh.errors import MeshError
    from sqlalchemy.exc import SQLAlchemyError

    if isinstance(error, Failure):
        return error
    if isinstance(error, GraphmeshError):
        return of_mesh(error, ExitCode.UNAVAILABLE if isinstance(error, DependencyError) else ExitCode.FAILED)
    if isinstance(error, NoMesh):
        return Failure(str(error), exit_code=ExitCode.UNAVAILABLE)
    if isinstance(error, LocalError):
        return Failure(str(error))
    if isinstance(error, (MeshError, EnvoyRefusal, ParseError)):
        return Failure(str(error), exit_code=ExitCode.USAGE)
    if isinstance(error, OSError):
        return Failure(_of_system(error), exit_code=ExitCode.USAGE)
    if isinstance(error, sqlite3.Error):
        return Failure(f"the database cannot be read: {error}", exit_code=ExitCode.USAGE)
    if isinstance(error, SQLAlchemyError):
        return Failure(f"the database cannot be used: {str(getattr(error, 'orig', error)).partition(chr(10))[0]}")
    return None


def of_mesh(error: Any, exit_code: ExitCode, advice: str = "") -> Failure:
    """Return the failure of an error of the mesh, a GraphmeshError."""
    violations = [(one.field, one.description) for one in error.violations]
    return Failure(
        error.message, reason=error.reason, advice=advice, violations=violations, exit_code=ExitCode(exit_code)
    )


def _show_usage_error(error: Any, as_json: bool) -> int:
    """Write an error of Typer's, with the command's usage, and return its exit code."""
    if as_json:
        _write_json({"reason": "USAGE", "message": error.format_message()}, error.exit_code)
    else:
        error.show()
    return int(error.exit_code)


def _write_json(error: Mapping[str, Any], exit_code: int) -> None:
    given = {key: value for key, value in error.items() if value}
    typer.echo(escaped(json.dumps({"error": given, "exit_code": int(exit_code)}, ensure_ascii=False)), err=True)


def _discard_output() -> None:
    """Let the interpreter flush what is left for a closed pipe to nowhere, instead of reporting the pipe again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _of_system(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename is not None else reason
