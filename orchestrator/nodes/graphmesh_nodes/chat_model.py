"""The mesh's model service as a LangChain chat model, for nodes of graphs.

    model = GraphmeshChatModel()

    async def draft(state: State) -> State:
        answer = await model.ainvoke(state["messages"])
        ...

Ordinary LangChain code works on it: `bind_tools`, `with_structured_output`, LangGraph's stream mode `messages`.
It takes its caller, its deadline and its way to the mesh from the run of the node that it is used in.
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from google.protobuf.message import Message
from graphmesh.model import v1 as pb
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.errors import Cancelled, GraphmeshError
from graphmesh_contracts import Rpc
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langgraph.config import get_config
from langgraph.runtime import Runtime, get_runtime
from pydantic import BaseModel, Field

from graphmesh_nodes import chat_convert as convert
from graphmesh_nodes.context import RunContext
from graphmesh_nodes.remote import ToolCall, call, call_headers, require_budget, spend

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@runtime_checkable
class Mesh(Protocol):
    """The way to the model service. Both raise GraphmeshError."""

    async def unary(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT: ...

    def stream(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> AsyncIterator[ResponseT]: ...


class MeshOfRun:
    """The mesh as the run of the present node has it: with its identity, its deadline and its channel."""

    async def unary(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        return await call(rpc, request, get_config(), get_runtime(RunContext))

    async def stream(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> AsyncIterator[ResponseT]:
        """One attempt, told to the run's custom stream as `call` does: what was streamed cannot be taken back."""
        runtime, node = get_runtime(RunContext), str(get_config().get("metadata", {}).get("langgraph_node", ""))
        began, error = time.monotonic(), cast(GraphmeshError | None, Cancelled(tool=rpc.tool))
        try:
            async for response in _opened(rpc, request, node, runtime):
                spend(runtime.context, getattr(response, "completed", response))
                yield response
            error = None
        except GraphmeshError as failure:
            error = failure
            raise
        finally:
            runtime.stream_writer(ToolCall(node, rpc.tool, EffectKey(), 1, time.monotonic() - began, error))


def _opened(
    rpc: Rpc[RequestT, ResponseT], request: RequestT, node: str, runtime: Runtime[RunContext]
) -> AsyncIterator[ResponseT]:
    context, task = runtime.context, runtime.execution_info
    if task is None:
        raise RuntimeError("a model of the mesh is used only inside a graph")
    require_budget(context, rpc)
    policy = context.policies.of(rpc)
    headers = call_headers(context, policy, task, node, EffectKey())
    deadline = context.deadline.capped(policy.timeout)
    return context.channel.stream(rpc, request, deadline=deadline, headers=headers)


class GraphmeshChatModel(BaseChatModel):
    """A model of the mesh. Asynchronous only: it lives in nodes of graphs."""

    model: str = ""
    """The alias of the model; empty for the default one."""
    temperature: float | None = None
    max_tokens: int | None = None
    mesh: Mesh = Field(default_factory=MeshOfRun, exclude=True, repr=False)
    """The way to the service; that of the node's run, where not given."""

    @property
    def _llm_type(self) -> str:
        return "graphmesh"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.model, "temperature": self.temperature, "max_tokens": self.max_tokens}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model ask for `tools`: what LangChain takes for one, also `ToolSchema.openai`."""
        functions = [convert_to_openai_tool(tool)["function"] for tool in tools]
        return self.bind(tools=functions, tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Answer with a value of `schema`: a Pydantic class, a TypedDict or a JSON Schema. The service sees to it."""
        asked = self.bind(response_schema=_json_schema(schema), **kwargs)
        parser = _parser(schema)
        if not include_raw:
            return asked | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=asked) | parsed.with_fallbacks([unparsed], exception_key="parsing_error")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError(
            "GraphmeshChatModel is asynchronous: use ainvoke, astream and abatch, not invoke, stream and batch"
        )

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = pb.GenerateRequest(prompt=self._prompt(messages, stop, **kwargs))
        response = await self.mesh.unary(pb.ModelService.Generate, request)
        message = AIMessage(
            content=response.message.text,
            tool_calls=[convert.tool_call(wanted) for wanted in response.message.tool_calls],
            usage_metadata=convert.usage(response.usage),
            response_metadata=convert.metadata(response),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request = pb.StreamGenerateRequest(prompt=self._prompt(messages, stop, **kwargs))
        async for event in self.mesh.stream(pb.ModelService.StreamGenerate, request):
            chunk = ChatGenerationChunk(message=convert.chunk(event))
            if run_manager and event.text_delta:
                await run_manager.on_llm_new_token(event.text_delta, chunk=chunk)
            yield chunk

    def _prompt(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str | bool | None = None,
        response_schema: Mapping[str, Any] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> pb.Prompt:
        return pb.Prompt(
            model=self.model,
            messages=[convert.message(message) for message in messages],
            tools=[convert.tool(tool) for tool in tools],
            tool_choice=convert.tool_choice(tool_choice),
            response_schema_json="" if response_schema is None else json.dumps(response_schema),
            temperature=self.temperature if temperature is None else temperature,
            max_output_tokens=max_tokens or self.max_tokens or 0,
            stop=stop or (),
        )


def _json_schema(schema: dict[str, Any] | type) -> dict[str, Any]:
    """Classes of Pydantic say more by themselves (references, described choices) than LangChain's conversion keeps."""
    if isinstance(schema, dict):
        return schema
    return schema.model_json_schema() if issubclass(schema, BaseModel) else convert_to_json_schema(schema)


def _parser(schema: dict[str, Any] | type) -> BaseOutputParser[Any]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return PydanticOutputParser(pydantic_object=schema)
    return JsonOutputParser()
