"""`graphmesh ingest`: a folder of Markdown into retrieval.

The service leaves alone what is stored already, just so. So the idempotency keys belong to one ingestion: they make its
retries safe, and a file that went back to an earlier text is stored like any other change.
"""

import asyncio
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

import typer
from graphmesh.retrieval.v1 import DocumentInput, IngestDocumentsRequest, IngestDocumentsResponse, RetrievalService
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError, InvalidRequest
from graphmesh_chassis.identity import TENANT_RULE
from graphmesh_local.state_folder import DEFAULT_STATE, NoMesh, StateFolder
from rich.console import Console

BATCH_DOCUMENTS: Final = 100
BATCH_BYTES: Final = 4 * 1024 * 1024
ATTEMPTS: Final = 5
"""Of one batch, where the service or the mesh is to blame."""
TIMEOUT: Final = 60.0
"""Seconds for one attempt."""


class Refused(ValueError):
    """The service does not take a document; the message says which and why."""


async def ingest_folder(channel: Channel, folder: Path, *, tenant: str = "default", uri_prefix: str = "") -> int:
    """Store the Markdown of `folder`. Returns how many passages the new and the changed files were cut into."""
    return (await ingest(channel, documents(folder, uri_prefix), tenant=tenant)).passage_count


async def ingest(channel: Channel, found: Iterable[DocumentInput], *, tenant: str) -> IngestDocumentsResponse:
    """Store documents. Returns the sum of what the service answers.

    Raises:
        Refused: a document breaks a rule; batches before it are stored.
        GraphmeshError: the service cannot be used.
    """
    total, ingestion = IngestDocumentsResponse(), uuid4().hex
    for number, batch in enumerate(batches(found)):
        headers = (
            (metadata.TENANT, tenant),
            (metadata.SUBJECT, "ingest"),
            (metadata.SCOPES, "retrieval.write"),
            (metadata.IDEMPOTENCY_KEY, f"ingest-{ingestion}-{number}"),
        )
        response = await _send(channel, IngestDocumentsRequest(documents=batch), headers)
        for field in response.DESCRIPTOR.fields:
            setattr(total, field.name, getattr(total, field.name) + getattr(response, field.name))
    return total


def documents(folder: Path, uri_prefix: str = "") -> Iterator[DocumentInput]:
    """The Markdown files below `folder`, by path; empty ones are skipped. The service finds the titles."""
    for path in sorted(folder.rglob("*.md")):
        place = path.relative_to(folder).as_posix()
        if text := path.read_text(encoding="utf-8", errors="replace").replace("\0", ""):
            yield DocumentInput(document_id=document_id(place), uri=f"{uri_prefix}{place}", text=text)


def document_id(place: str) -> str:
    """The path as an id; one with characters that an id cannot have is told from others by a hash."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,199}", place):
        return place
    plain = re.sub(r"[^A-Za-z0-9_./-]+", "-", place).lstrip("_./-")[:180]
    return f"{plain or 'file'}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"


def batches(found: Iterable[DocumentInput]) -> Iterator[list[DocumentInput]]:
    """The documents in the order they come, as many in each batch as one call takes."""
    batch: list[DocumentInput] = []
    filled = 0
    for document in found:
        size = document.ByteSize()
        if batch and (len(batch) == BATCH_DOCUMENTS or filled + size > BATCH_BYTES):
            yield batch
            batch, filled = [], 0
        batch.append(document)
        filled += size
    if batch:
        yield batch


async def _send(
    channel: Channel, request: IngestDocumentsRequest, headers: tuple[tuple[str, str], ...]
) -> IngestDocumentsResponse:
    for attempt in range(ATTEMPTS - 1):
        try:
            return await channel.unary(
                RetrievalService.IngestDocuments, request, deadline=Deadline.after(TIMEOUT), headers=headers
            )
        except InvalidRequest as error:
            raise Refused(_complaints(error, request)) from error
        except GraphmeshError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(max(0.1 * 2**attempt, error.retry_after or 0))
    return await channel.unary(
        RetrievalService.IngestDocuments, request, deadline=Deadline.after(TIMEOUT), headers=headers
    )


def _complaints(error: InvalidRequest, request: IngestDocumentsRequest) -> str:
    """The violations, each with the file that it is about."""
    lines = []
    for violation in error.violations:
        place = re.match(r"documents\[(\d+)\]\.?(.*)", violation.field)
        about = f"{request.documents[int(place[1])].uri}: {place[2]}" if place else violation.field
        lines.append(f"{about}: {violation.description}")
    return "\n".join(lines) or error.message


def ingest_command(
    folder: Annotated[
        Path, typer.Argument(help="Searched for *.md, with all folders in it.", exists=True, file_okay=False)
    ],
    address: Annotated[str, typer.Option(help="host:port of retrieval or a mesh; by default the one running.")] = "",
    tenant: Annotated[str, typer.Option(help="Whose documents they become.")] = "default",
    uri_prefix: Annotated[str, typer.Option(help="Put before a file's path, it is where readers find it.")] = "",
) -> None:
    """Store a folder of Markdown in retrieval, so that agents find it.

    Files are known by their paths: the same folder again replaces what has changed, and removes nothing.
    """
    if not TENANT_RULE.fullmatch(tenant):
        raise typer.BadParameter("has characters that it cannot have, or is too long", param_hint="tenant")
    console = Console(highlight=False, soft_wrap=True)
    try:
        place = address or StateFolder(DEFAULT_STATE).read().mesh
        done = asyncio.run(_ingest_at(place, folder, tenant, uri_prefix))
    except (NoMesh, Refused, GraphmeshError, OSError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    console.print(
        f"{done.added_count} added, {done.replaced_count} replaced, {done.unchanged_count} unchanged; "
        f"{done.passage_count} new passages",
        markup=False,
    )


async def _ingest_at(address: str, folder: Path, tenant: str, uri_prefix: str) -> IngestDocumentsResponse:
    async with Channel(address) as channel:
        return await ingest(channel, documents(folder, uri_prefix), tenant=tenant)
