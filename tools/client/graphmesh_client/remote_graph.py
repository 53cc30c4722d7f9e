"""A graph of the mesh as a LangGraph graph, called on its own or as a node of any LangGraph program."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Literal, NoReturn, Self, Unpack, cast

from graphmesh_contracts import struct_value
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, merge_configs
from langchain_core.runnables.graph import Graph as DrawableGraph
from langgraph.pregel.protocol import PregelProtocol
from langgraph.types import GraphOutput, StateSnapshot, StateUpdate, StreamMode
from pydantic_core import to_jsonable_python

from graphmesh_client.calls import NO_LIMIT
from graphmesh_client.client import Client, RunOptions
from graphmesh_client.invocation import Invocation, subgraph_of
from graphmesh_client.langgraph_convert import CHECKPOINT_NS, INTERRUPT, state_snapshot
from graphmesh_client.remote_runs import OUTPUT, RemoteRuns, reject_unsupported

MODES: frozenset[StreamMode] = frozenset({"values", "updates", "messages", "tasks", "checkpoints", "custom", "debug"})

OWN_OPTIONS = frozenset({"context", "interrupt_before", "interrupt_after"})
"""Options that a compiled graph takes with each call."""


def _unsupported(reason: str) -> Callable[..., Any]:
    def raise_error(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(reason)

    return raise_error


def _async_only(alternative: str) -> Callable[..., Any]:
    return _unsupported(f"RemoteGraph is async only: use {alternative}, and the same of the graph that it is a node of")


class RemoteGraph(PregelProtocol[Any, Any, Any, Any]):
    """One graph of a mesh, wherever LangGraph takes a compiled graph. Async only.

        support = RemoteGraph(client, "support")
        await support.ainvoke({...}, {"configurable": {"thread_id": "customer-7"}})
        builder.add_node("support", support)

    On its own it runs on the thread of the config, or on a new one. A run that parks returns `__interrupt__`, and
    `Command(resume=...)` on the same thread answers it, as the input None does at a breakpoint.

    As a node, or called in one, each task of the program has one run, on a thread of its own: a task that is executed
    again, after a crash or an answer, finds its run. This requires that the program keeps the ids of its tasks through
    a crash: compile it with a checkpointer and use `durability="sync"`. A node that calls a graph several times passes
    a different `name` for each call. The run's interrupts become interrupts of the node, one at a time; an approval is
    answered in the mesh, and then `ainvoke(None)` resumes the program.

    A caller that is cancelled or dies leaves the run running. A run that fails raises its GraphmeshError, in each
    execution of its task. State is JSON: messages and other objects are returned as dicts.
    """

    def __init__(
        self,
        client: Client,
        graph: str = "",
        *,
        name: str = "",
        thread_id: str = "",
        config: RunnableConfig | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        """
        Args:
            graph: its name; empty where the options have an `assistant`.
            name: the name of the node; it distinguishes several calls in one node.
            thread_id: the thread of every run.
            config: merged with the config of each call. Its `recursion_limit` does not apply to the run, whose limit
                is an option.
            options: options of every run.
        """
        self.name = name or graph or options.get("assistant", "")
        self.config = config
        self._client, self._graph, self._options = client, graph, options
        self._thread_id = thread_id
        self._runs = RemoteRuns(client, graph, options)

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> Self:
        return self.__class__(
            self._client,
            self._graph,
            name=self.name or "",
            thread_id=self._thread_id,
            config=merge_configs(self.config, config, cast(RunnableConfig, kwargs)),
            **self._options,
        )

    async def ainvoke(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        version: Literal["v1", "v2"] = "v1",
        **others: Any,
    ) -> Any:
        """Return the output; for a run that parked, its state and `__interrupt__`.

        `others` are a `context`, `interrupt_before` and `interrupt_after`, as a compiled graph has them; a run that is
        resumed keeps its own.
        """
        own, output = _own_options(others), dict[str, Any]()
        async for _, mode, data in self._runs.follow(input, self._invocation(config), own=own):
            output = data if mode == OUTPUT else output
        interrupts = output.pop(INTERRUPT, ())
        if version == "v2":
            return GraphOutput(output, interrupts)
        return {**output, INTERRUPT: list(interrupts)} if interrupts else output

    async def astream(  # type: ignore[override]  # Runnable wants None for every keyword; LangGraph does not
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        stream_mode: StreamMode | list[StreamMode] | None = None,
        subgraphs: bool = False,
        version: Literal["v1", "v2"] = "v1",
        **others: Any,
    ) -> AsyncIterator[Any]:
        """Yield what the graph streams in LangGraph's modes; with `subgraphs`, also what the graphs within it stream,
        and the namespace of each part.

        A run that is resumed has the modes with which it was begun; without `values`, that mode has its output. As a
        task, a graph streams in the modes of its program.
        """
        own = _own_options(others)
        requested = stream_mode or "updates"
        modes = {requested} if isinstance(requested, str) else set(requested)
        reject_unsupported(f"stream modes but {', '.join(sorted(MODES))}", modes - MODES)
        has_values = False
        async with aclosing(self._runs.follow(input, self._invocation(config), modes, own)) as parts:
            async for namespace, kind, data in parts:
                has_values = has_values or kind == "values"
                mode = cast(StreamMode, "values" if kind == OUTPUT and not has_values else kind)
                if mode not in modes or (namespace and not subgraphs):
                    continue
                if version == "v2":
                    yield _version_2_part(namespace, mode, data)
                else:
                    part = (data,) if isinstance(requested, str) else (mode, data)
                    part = (namespace, *part) if subgraphs else part
                    yield part if len(part) > 1 else data

    async def aget_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        address = self._state_address(config)
        namespace = address.namespace
        state = await self._client.threads.state(
            address.thread_id, address.checkpoint_id, namespace=namespace, subgraphs=subgraphs
        )
        return state_snapshot(address.thread_id, state, namespace)

    async def aget_state_history(
        self,
        config: RunnableConfig,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """Yield the states whose metadata contains `filter`, the newest first."""
        address = self._state_address(config)
        thread_id, namespace = address.thread_id, address.namespace
        skip_until = str((before or {}).get("configurable", {}).get("checkpoint_id", ""))
        remaining = limit
        needed = NO_LIMIT if limit is None or filter or skip_until else limit
        async with aclosing(self._client.threads.history(thread_id, needed, namespace=namespace)) as states:
            async for state in states:
                if remaining == 0:
                    return
                if not skip_until and _contains(struct_value(state.metadata), filter or {}):
                    remaining = remaining and remaining - 1
                    yield state_snapshot(thread_id, state, namespace)
                if state.checkpoint_id == skip_until:
                    skip_until = ""

    async def aupdate_state(
        self, config: RunnableConfig, values: dict[str, Any] | Any | None, as_node: str | None = None
    ) -> RunnableConfig:
        address = self._state_address(config)
        state = await self._client.threads.update_state(
            address.thread_id,
            to_jsonable_python(values),
            as_node=as_node or "",
            checkpoint_id=address.checkpoint_id,
            namespace=address.namespace,
        )
        return state_snapshot(address.thread_id, state, address.namespace).config

    async def abulk_update_state(
        self, config: RunnableConfig, updates: Sequence[Sequence[StateUpdate]]
    ) -> RunnableConfig:
        """Apply one update after the other, each as a superstep."""
        reject_unsupported("several updates in a superstep", [step for step in updates if len(step) > 1])
        for [update] in updates:
            config = await self.aupdate_state(config, update.values, update.as_node)
        return config

    def get_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> DrawableGraph:
        """Return a graph of one node: the contracts have a graph's schemas, not its nodes."""
        graph = DrawableGraph()
        graph.add_node(self, self.name)
        return graph

    async def aget_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> DrawableGraph:
        return self.get_graph(config, xray=xray)

    astream_events = _unsupported("a graph of the mesh has no callbacks for events: use astream")
    invoke = _async_only("ainvoke")
    stream = _async_only("astream")
    get_state = _async_only("aget_state")
    get_state_history = _async_only("aget_state_history")
    update_state = _async_only("aupdate_state")
    bulk_update_state = _async_only("abulk_update_state")

    def _state_address(self, config: RunnableConfig) -> Invocation:
        """Return the thread, the checkpoint and the subgraph that the config of a state names."""
        if not (namespace := subgraph_of(config)):
            return replace(self._invocation(config), namespace=())
        own = {key: value for key, value in config["configurable"].items() if key != CHECKPOINT_NS}
        return replace(self._invocation({**config, "configurable": own}), namespace=namespace)

    def _invocation(self, config: RunnableConfig | None) -> Invocation:
        merged = ensure_config(merge_configs(self.config, config))
        return Invocation.from_config(merged, self.name or "", self._thread_id)


def _own_options(others: Mapping[str, Any]) -> RunOptions:
    """Return the options of a run that a compiled graph takes with each call. Raises NotImplementedError for others."""
    unknown = {name: value for name, value in others.items() if name not in OWN_OPTIONS}
    reject_unsupported(", ".join(unknown), unknown.values())
    given = {name: value for name, value in others.items() if name in OWN_OPTIONS and value is not None}
    if "context" in given:
        given["context"] = to_jsonable_python(given["context"])
    nodes = {name: [value] if isinstance(value, str) else value for name, value in given.items() if name != "context"}
    return cast(RunOptions, {**given, **nodes})


def _version_2_part(namespace: tuple[str, ...], mode: StreamMode, data: Any) -> dict[str, Any]:
    """Return a part in the form of stream version 2."""
    part = {"type": mode, "ns": namespace, "data": data}
    if mode != "values":
        return part
    values = {key: value for key, value in data.items() if key != INTERRUPT}
    return part | {"data": values, "interrupts": data.get(INTERRUPT, ())}


def _contains(metadata: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return all(metadata.get(key) == value for key, value in expected.items())
