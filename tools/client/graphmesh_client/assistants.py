"""Assistants: named configurations of graphs, with versions."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypedDict, TypeVar, Unpack

from graphmesh.orchestrator.v1 import (
    Assistant,
    AssistantService,
    CreateAssistantRequest,
    DeleteAssistantRequest,
    GetAssistantRequest,
    ListAssistantVersionsRequest,
    SearchAssistantsRequest,
    SetLatestAssistantVersionRequest,
    UpdateAssistantRequest,
)
from graphmesh_contracts import to_struct

from graphmesh_client.calls import NO_LIMIT, Calls

NO_FILTER: Mapping[str, Any] = {}
RequestT = TypeVar("RequestT", CreateAssistantRequest, UpdateAssistantRequest)


class Configuration(TypedDict, total=False):
    """The content of an assistant; see CreateAssistantRequest."""

    name: str
    description: str
    context: Mapping[str, Any]
    configurable: Mapping[str, Any]
    recursion_limit: int
    metadata: Mapping[str, Any]


class Assistants:
    """The assistants of the client's tenant."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(self, graph: str, *, assistant_id: str = "", **content: Unpack[Configuration]) -> Assistant:
        """Create an assistant, with an id of its own where none is given.

        The call is made once: where its response is lost, pass an id of your own, and a repeat is refused.

        Raises:
            NotJsonError: the context, the configurable or the metadata is no JSON; the path in it is named.
        """
        request = CreateAssistantRequest(assistant_id=assistant_id, graph=graph)
        return (await self._calls.call_once(AssistantService.CreateAssistant, _filled(request, content))).assistant

    async def get(self, assistant: str) -> Assistant:
        """Return the latest version, by id or name. Raises NotFound."""
        request = GetAssistantRequest(assistant=assistant)
        return (await self._calls.call(AssistantService.GetAssistant, request)).assistant

    def search(
        self,
        *,
        graph: str = "",
        metadata: Mapping[str, Any] = NO_FILTER,
        assistant_id_prefix: str = "",
        limit: int = NO_LIMIT,
    ) -> AsyncGenerator[Assistant, None]:
        """Yield assistants of a graph whose metadata has these members, the newest first.

        `assistant_id_prefix` is the beginning of a generated id.
        """
        request = SearchAssistantsRequest(
            graph=graph, metadata=to_struct(metadata), assistant_id_prefix=assistant_id_prefix
        )
        return self._calls.iterate(AssistantService.SearchAssistants, request, lambda page: page.assistants, limit)

    async def update(
        self, assistant_id: str, *, graph: str | None = None, **content: Unpack[Configuration]
    ) -> Assistant:
        """Make a new version, in which what is not given stays. Metadata is merged, and None deletes a member.

        Raises:
            NotJsonError: as `create`.
        """
        request = UpdateAssistantRequest(assistant_id=assistant_id, graph=graph)
        return (await self._calls.call_once(AssistantService.UpdateAssistant, _filled(request, content))).assistant

    async def delete(self, assistant_id: str) -> None:
        """Delete an assistant with its versions. Runs keep what they got. Raises NotFound."""
        request = DeleteAssistantRequest(assistant_id=assistant_id)
        await self._calls.call_once(AssistantService.DeleteAssistant, request)

    async def versions(self, assistant_id: str, limit: int = NO_LIMIT) -> list[Assistant]:
        """Return the versions, the newest first."""
        request = ListAssistantVersionsRequest(assistant_id=assistant_id)
        rpc = AssistantService.ListAssistantVersions
        return await self._calls.collect(rpc, request, lambda page: page.versions, limit)

    async def set_latest(self, assistant_id: str, version: int) -> Assistant:
        """Make a version the latest. Raises NotFound."""
        request = SetLatestAssistantVersionRequest(assistant_id=assistant_id, version=version)
        return (await self._calls.call(AssistantService.SetLatestAssistantVersion, request)).assistant


def _filled(request: RequestT, content: Configuration) -> RequestT:
    fields: dict[str, Any] = dict(content)
    for name in ("context", "configurable", "metadata"):
        if (value := fields.pop(name, None)) is not None:
            getattr(request, name).CopyFrom(to_struct(value))
    request.MergeFrom(type(request)(**fields))
    return request
