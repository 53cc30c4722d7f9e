"""Factories of graphs: functions and context managers, sync or async, that are called as LangGraph's server calls them.

One with a parameter for the config or the server's runtime makes a graph for each run; any other is called once.
"""

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, get_origin

import structlog
import typing_extensions
from graphmesh_nodes.graph_contexts import configurable_with
from langchain_core.runnables import RunnableConfig
from langgraph.pregel.main import _coerce_context  # it has no public name
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import ServerRuntime, _ExecutionRuntime, _ReadRuntime  # the union has no constructor

from graphmesh_orchestrator.import_errors import describe
from graphmesh_orchestrator.project import ProjectError
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.runs.server_keys import server_keys

log = structlog.get_logger("graphmesh.orchestrator.graphs")

EXECUTION: Literal["threads.create_run"] = "threads.create_run"
GraphT = TypeVar("GraphT")
OtherT = TypeVar("OtherT")
Role = Literal["config", "runtime"]


class FactoryFailed(ProjectError):
    """A factory has raised an error, or made no graph that can be run; the cause is its own error, if it has one."""


@dataclass(frozen=True)
class FactoryCall:
    """What a factory is called with; by default what LangGraph's server reads schemas with."""

    config: RunnableConfig = field(default_factory=lambda: RunnableConfig(configurable={}))
    runtime: Any = field(
        default_factory=lambda: _ReadRuntime(access_context="assistants.read", user=None, store=InMemoryStore())
    )

    @classmethod
    def of_run(cls, run: Run, context_schema: Any, store: BaseStore | None = None) -> "FactoryCall":
        """Return the call for a run; without a store it only reads what the graph of the run takes."""
        identity, request = run.identity, run.request
        ids = {"thread_id": identity.thread_id, **server_keys(run)}
        configurable = {**configurable_with(request.context, request.configurable), **ids}
        user = ids.pop("langgraph_auth_user")
        metadata = {**request.labels, **ids}
        config: RunnableConfig = {
            "configurable": configurable,
            "metadata": metadata,
            "recursion_limit": request.recursion_limit,
        }
        if store is None:
            return cls(config, _ReadRuntime(access_context="threads.read", user=user, store=InMemoryStore()))
        context = _coerce_context(context_schema, request.context)
        return cls(config, _ExecutionRuntime(access_context=EXECUTION, user=user, store=store, context=context))


class GraphFactory(Generic[GraphT]):
    """A factory of a project."""

    def __init__(self, function: Callable[..., Any], compile: Callable[[Any], GraphT]) -> None:
        """
        Args:
            compile: makes a graph of what the factory makes.

        Raises:
            ProjectError: the factory has a parameter that LangGraph does not pass.
        """
        self._function, self._compile = function, compile
        self._name = getattr(function, "__qualname__", type(function).__name__)
        self._roles = self._roles_of_parameters()

    @property
    def is_called_for_each_run(self) -> bool:
        return bool(self._roles)

    def compiled_by(self, compile: Callable[[Any], OtherT]) -> "GraphFactory[OtherT]":
        """Return the same factory with another compilation."""
        return GraphFactory(self._function, compile)

    @asynccontextmanager
    async def made(self, call: FactoryCall | None = None) -> AsyncIterator[GraphT]:
        """Make a graph, and close what the factory opened for it at the end of the block.

        An error of the block reaches the context manager of the factory, which cannot suppress it.

        Raises:
            FactoryFailed: the factory failed, at the beginning or at the end.
        """
        stack = AsyncExitStack()
        try:
            try:
                graph = self._compile(await self._entered(call or FactoryCall(), stack))
            except (Exception, SystemExit) as error:
                raise self._failure(error) from error
            yield graph
        finally:
            await stack.__aexit__(*sys.exc_info())

    async def _entered(self, call: FactoryCall, stack: AsyncExitStack) -> Any:
        arguments = {name: call.config if role == "config" else call.runtime for name, role in self._roles.items()}
        bound = partial(self._function, **arguments)
        is_async = inspect.iscoroutinefunction(self._function)
        made = bound() if is_async else await asyncio.to_thread(bound)  # which may run an event loop of its own
        if inspect.isawaitable(made):
            made = await made
        if hasattr(made, "__aenter__"):
            return await self._enter(stack, made.__aenter__, made.__aexit__)
        if hasattr(made, "__enter__"):
            in_thread = partial(partial, asyncio.to_thread)
            return await self._enter(stack, in_thread(made.__enter__), in_thread(made.__exit__))
        return made

    async def _enter(
        self, stack: AsyncExitStack, enter: Callable[[], Awaitable[Any]], leave: Callable[..., Awaitable[Any]]
    ) -> Any:
        async def close(
            kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
        ) -> None:
            try:
                await leave(kind, error, traceback)
            except (Exception, SystemExit) as raised:
                if error is None:
                    raise self._failure(raised) from raised
                if raised is not error:
                    log.warning("factory failed after its graph", factory=self._name, exc_info=raised)

        entered = await enter()
        stack.push_async_exit(close)
        return entered

    def _failure(self, error: BaseException) -> FactoryFailed:
        return FactoryFailed(f"its factory {self._name} failed: {describe(error)}")

    def _roles_of_parameters(self) -> Mapping[str, Role]:
        try:
            hints = typing_extensions.get_type_hints(self._function)
        except (NameError, TypeError):  # of an import for type checkers only, or of an object
            hints = {}
        roles = dict[str, Role]()
        for name, parameter in inspect.signature(self._function).parameters.items():
            role = _role(parameter, hints.get(name))
            is_required = parameter.default is parameter.empty and parameter.kind in NAMED
            if role is None and is_required and not roles:
                role = "config"
            if role is not None:
                roles[name] = role
            elif is_required:
                raise ProjectError(
                    f"its factory {self._name} has the parameter {name}, and LangGraph passes a config and a runtime"
                )
        return roles


NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _role(parameter: inspect.Parameter, hint: Any) -> Role | None:
    """Return what LangGraph passes to a parameter, by its type, else by its name."""
    if parameter.kind not in NAMED:
        return None
    if (get_origin(hint) or hint) in (ServerRuntime, _ExecutionRuntime, _ReadRuntime):
        return "runtime"
    if hint is RunnableConfig:
        return "config"
    by_name: dict[str, Role] = {"config": "config", "runtime": "runtime"}
    return by_name.get(parameter.name)
