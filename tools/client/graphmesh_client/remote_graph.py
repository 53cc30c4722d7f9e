"""A graph of the mesh as a graph of LangGraph: on its own, or as a node of any program."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, NoReturn, Self, Unpack, cast

from graphmesh_contracts import struct_value
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, merge_configs
from langchain_core.runnables.graph import Graph as DrawableGraph
from langgraph.pregel.protocol import PregelProtocol
from langgraph.types import GraphOutput, StateSnapshot, StateUpdate, StreamMode
from pydantic_core import to_jsonable_python

from graphmesh_client.client import Client, RunOptions
from graphmesh_client.parts import INTERRUPT, snapshot
from graphmesh_client.place import Place
from graphmesh_client.remote import Remote, refuse

MODES: frozenset[StreamMode] = frozenset({"values", "updates", "messages", "custom"})


def _refusing(why: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(why)

    return refuse


def _async_only(instead: str) -> Callable[..., Any]:
    return _refusing(f"RemoteGraph is async only: use {instead}, also of the graph that it is a node of")


class RemoteGraph(PregelProtocol[Any, Any, Any, Any]):
    """One graph of a mesh, wherever LangGraph takes a compiled graph. Async only.

        support = RemoteGraph(client, "support")
        await support.ainvoke({...}, {"configurable": {"thread_id": "customer-7"}})
        builder.add_node("support", support)

    On its own it runs on the thread that the config names, or on a new one. A run that parks returns `__interrupt__`,
    and `Command(resume=...)` on the same thread answers it.

    As a node, or called in one, each task of the program has one run, on a thread of its own: a task that is executed
    again, after a crash or an answer, finds its run. That holds where the program keeps the ids of its tasks through a
    crash: give it a checkpointer and `durability="sync"`. A node that calls a graph several times gives each call
    another `name`. What the run asks, the node asks, one question at a time; an approval is answered in the mesh, and
    then the program goes on with `ainvoke(None)`.

    Who goes away leaves the run running. A run that fails raises its GraphmeshError, in each execution of its task.
    State is JSON: messages and other objects come back as dicts.
    """

    def __init__(
        self,
        client: Client,
        graph: str,
        *,
        name: str = "",
        thread_id: str = "",
        config: RunnableConfig | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        """
        Args:
            name: of the node; tells several calls in one node apart.
            thread_id: run always on this thread.
            config: merged into that of every call. Its `recursion_limit` is not the run's: that is an option.
            options: of every run.
        """
        self.name = name or graph
        self.config = config
        self._client, self._graph, self._options = client, graph, options
        self._thread_id = thread_id
        self._remote = Remote(client, graph, options)

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
        """The output; the state and `__interrupt__` of a run that parked."""
        refuse(", ".join(others), others.values())
        output: dict[str, Any] = {}
        async for mode, data in self._remote.follow(input, self._place(config)):
            output = data if mode == "values" else output
        asked = output.pop(INTERRUPT, ())
        if version == "v2":
            return GraphOutput(output, asked)
        return {**output, INTERRUPT: list(asked)} if asked else output

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
        """What happens: `updates` of the graph's nodes, `messages` (text of models), `custom` events, and `values`,
        which come once, at the end. Subgraphs of the remote graph say nothing."""
        refuse(", ".join(others), others.values())
        asked = stream_mode or "updates"
        modes = {asked} if isinstance(asked, str) else set(asked)
        refuse(f"stream modes but {', '.join(sorted(MODES))}", modes - MODES)
        async with aclosing(self._remote.follow(input, self._place(config))) as parts:
            async for mode, data in parts:
                if mode not in modes:
                    continue
                if version == "v2":
                    yield _typed(mode, data)
                else:
                    shape = (data,) if isinstance(asked, str) else (mode, data)
                    shape = ((), *shape) if subgraphs else shape
                    yield shape if len(shape) > 1 else data

    async def aget_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        place = self._place(config)
        return snapshot(place.thread_id, await self._client.threads.state(place.thread_id, place.checkpoint_id))

    async def aget_state_history(
        self,
        config: RunnableConfig,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """The newest first. `filter` is what the metadata has to have."""
        thread_id = self._place(config).thread_id
        skipped_to = str((before or {}).get("configurable", {}).get("checkpoint_id", ""))
        left = limit
        async with aclosing(self._client.threads.history(thread_id)) as states:
            async for state in states:
                if left == 0:
                    return
                if not skipped_to and _has(struct_value(state.metadata), filter or {}):
                    left = left and left - 1
                    yield snapshot(thread_id, state)
                if state.checkpoint_id == skipped_to:
                    skipped_to = ""

    async def aupdate_state(
        self, config: RunnableConfig, values: dict[str, Any] | Any | None, as_node: str | None = None
    ) -> RunnableConfig:
        place = self._place(config)
        state = await self._client.threads.update_state(
            place.thread_id,
            to_jsonable_python(values),
            as_node=as_node or "",
            checkpoint_id=place.checkpoint_id,
        )
        return snapshot(place.thread_id, state).config

    async def abulk_update_state(
        self, config: RunnableConfig, updates: Sequence[Sequence[StateUpdate]]
    ) -> RunnableConfig:
        """One update after the other; each is a superstep."""
        refuse("several updates in a superstep", [step for step in updates if len(step) > 1])
        for [update] in updates:
            config = await self.aupdate_state(config, update.values, update.as_node)
        return config

    def get_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> DrawableGraph:
        """One box: the contracts tell a graph's schemas, not its nodes."""
        drawn = DrawableGraph()
        drawn.add_node(self, self.name)
        return drawn

    async def aget_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> DrawableGraph:
        return self.get_graph(config, xray=xray)

    astream_events = _refusing("a graph of the mesh has no callbacks that make events: use astream")
    invoke = _async_only("ainvoke")
    stream = _async_only("astream")
    get_state = _async_only("aget_state")
    get_state_history = _async_only("aget_state_history")
    update_state = _async_only("aupdate_state")
    bulk_update_state = _async_only("abulk_update_state")

    def _place(self, config: RunnableConfig | None) -> Place:
        return Place.of(ensure_config(merge_configs(self.config, config)), self.name or "", self._thread_id)


def _typed(mode: StreamMode, data: Any) -> dict[str, Any]:
    """A part as version 2 of the stream has it."""
    part = {"type": mode, "ns": (), "data": data}
    if mode != "values":
        return part
    values = {key: value for key, value in data.items() if key != INTERRUPT}
    return part | {"data": values, "interrupts": data.get(INTERRUPT, ())}


def _has(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(metadata.get(key) == value for key, value in wanted.items())
