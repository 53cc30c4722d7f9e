"""AssistantService: decode, use case, encode."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Any

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.hooks import INLINE_BYTES
from graphmesh_chassis.large_values import convert_aside, is_large, read_places
from graphmesh_chassis.pages import PAGE_BYTES, Page, decode_position, page_size

from graphmesh_orchestrator.assistants import convert
from graphmesh_orchestrator.assistants.assistant import Assistant, Configuration, contains
from graphmesh_orchestrator.assistants.assistants import Assistants
from graphmesh_orchestrator.db.database_clock import Now
from graphmesh_orchestrator.registry import Registry
from graphmesh_orchestrator.roles import RoleRules
from graphmesh_orchestrator.runs.convert import json_object, role_names

BATCH_ASSISTANTS = 50
"""Assistants that a search reads at a time."""


class AssistantServicer(pb.AssistantServiceServicer):
    def __init__(self, assistants: Assistants, registry: Registry, now: Now, roles: RoleRules) -> None:
        self._assistants, self._registry, self._now, self._roles = assistants, registry, now, roles

    async def CreateAssistant(self, request: pb.CreateAssistantRequest, context: Any) -> pb.CreateAssistantResponse:
        has_large = request.ByteSize() > INLINE_BYTES
        assistant = await convert_aside(has_large, convert.new_assistant, request, _tenant(), self._now())
        self._check(assistant.configuration)
        await self._assistants.create(assistant)
        return pb.CreateAssistantResponse(assistant=await _message_of(assistant))

    async def GetAssistant(self, request: pb.GetAssistantRequest, context: Any) -> pb.GetAssistantResponse:
        assistant = await self._assistants.resolve(_tenant(), request.assistant)
        return pb.GetAssistantResponse(assistant=await _message_of(assistant))

    async def SearchAssistants(self, request: pb.SearchAssistantsRequest, context: Any) -> pb.SearchAssistantsResponse:
        page: Page[pb.Assistant] = Page(page_size(request.page_size), PAGE_BYTES)
        wanted = json_object(request.metadata, "metadata")
        async with read_places("assistants"), aclosing(self._found(request)) as found:
            async for assistant in found:
                if not contains(assistant.configuration.metadata or {}, wanted):
                    continue
                if not page.add(await _message_of(assistant), (assistant.created, assistant.assistant_id)):
                    break
        return pb.SearchAssistantsResponse(assistants=page.messages, next_page_token=page.next_token)

    async def UpdateAssistant(self, request: pb.UpdateAssistantRequest, context: Any) -> pb.UpdateAssistantResponse:
        latest = await self._assistants.get(_tenant(), request.assistant_id)
        has_large = request.ByteSize() > INLINE_BYTES
        configuration = await convert_aside(has_large, convert.changed, latest.configuration, request)
        self._check(configuration)
        made = await self._assistants.add_version(latest, configuration, self._now())
        return pb.UpdateAssistantResponse(assistant=await _message_of(made))

    async def DeleteAssistant(self, request: pb.DeleteAssistantRequest, context: Any) -> pb.DeleteAssistantResponse:
        await self._assistants.delete(_tenant(), request.assistant_id)
        return pb.DeleteAssistantResponse()

    async def ListAssistantVersions(
        self, request: pb.ListAssistantVersionsRequest, context: Any
    ) -> pb.ListAssistantVersionsResponse:
        page: Page[pb.Assistant] = Page(page_size(request.page_size), PAGE_BYTES)
        _, before = decode_position(request.page_token, str, int) or ("", 0)
        key = (_tenant(), request.assistant_id)
        async with read_places("assistants"):
            for version in await self._assistants.versions(*key, before, page.size + 1):
                if not page.add(await _message_of(version), (request.assistant_id, version.version)):
                    break
        return pb.ListAssistantVersionsResponse(versions=page.messages, next_page_token=page.next_token)

    async def SetLatestAssistantVersion(
        self, request: pb.SetLatestAssistantVersionRequest, context: Any
    ) -> pb.SetLatestAssistantVersionResponse:
        latest = await self._assistants.set_latest(_tenant(), request.assistant_id, request.version)
        return pb.SetLatestAssistantVersionResponse(assistant=await _message_of(latest))

    async def _found(self, request: pb.SearchAssistantsRequest) -> AsyncGenerator[Assistant]:
        before, own = decode_position(request.page_token, datetime, str), (_tenant(), request.graph)
        prefix = request.assistant_id_prefix
        while found := await self._assistants.find(*own, before, BATCH_ASSISTANTS, prefix):
            for assistant in found:
                yield assistant
            before = (found[-1].created, found[-1].assistant_id)

    def _check(self, configuration: Configuration) -> None:
        """Raises GraphNotFound or InvalidInput. What the context lacks, the runs state."""
        is_shown = partial(self._roles.may_run, role_names(current_call().caller))
        graph = self._registry.get(configuration.graph, is_shown)
        graph.check_context(configuration.context, configuration.configurable, is_partial=True)


async def _message_of(assistant: Assistant) -> pb.Assistant:
    given = assistant.configuration
    has_large = is_large(given.context, given.configurable, given.metadata)
    return await convert_aside(has_large, convert.assistant_message, assistant)


def _tenant() -> str:
    return current_call().caller.tenant
