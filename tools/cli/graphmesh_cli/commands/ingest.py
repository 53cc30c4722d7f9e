"""`graphmesh ingest`: store a folder of Markdown in retrieval.

The service skips documents that are stored unchanged. The idempotency keys are therefore unique to one ingestion: they
make its retries safe, and a file that is reverted to an earlier text is stored like any other change.
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
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.connection import State, check_tenant, mesh_address
from graphmesh_cli.commands.output import AsJson, console, noted, print_json_line
from graphmesh_cli.failures import Failure

MAX_BATCH_DOCUMENTS: Final = 100
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
MAX_ATTEMPTS: Final = 5
"""Attempts for one batch while the service or the mesh fails."""
TIMEOUT: Final = 60.0
"""Seconds for one attempt."""


class Refused(Failure):
    """The service refuses a document; the message names the file and the rule."""


async def ingest_folder(channel: Channel, folder: Path, *, tenant: str = "default", uri_prefix: str = "") -> int:
    """Store the Markdown of `folder`. Returns the number of passages of new and changed files."""
    return (await ingest(channel, documents(folder, uri_prefix), tenant=tenant)).passage_count


async def ingest(
    channel: Channel, found: Iterable[DocumentInput], *, tenant: str, max_batch_bytes: int = MAX_BATCH_BYTES
) -> IngestDocumentsResponse:
    """Store documents. Returns the sums of the counts in the service's responses.

    Raises:
        Refused: a document breaks a rule; batches before it are stored.
        GraphmeshError: the service cannot be used.
    """
    total, ingestion = IngestDocumentsResponse(), uuid4().hex
    for number, batch in enumerate(batches(found, max_batch_bytes)):
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
    """Yield the Markdown files below `folder`, sorted by path, without empty ones. The service extracts the titles."""
    for path in sorted(folder.rglob("*.md")):
        name = path.relative_to(folder).as_posix()
        if text := path.read_text(encoding="utf-8", errors="replace").replace("\0", ""):
            yield DocumentInput(document_id=document_id(name), uri=f"{uri_prefix}{name}", text=text)


def document_id(name: str) -> str:
    """Return a relative path as an id. Characters that ids do not allow are replaced, and a hash keeps it unique."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,199}", name):
        return name
    plain = re.sub(r"[^A-Za-z0-9_./-]+", "-", name).lstrip("_./-")[:180]
    return f"{plain or 'file'}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def batches(found: Iterable[DocumentInput], max_bytes: int = MAX_BATCH_BYTES) -> Iterator[list[DocumentInput]]:
    """Split documents into batches of one call each, in their order. A single larger document is a batch."""
    batch: list[DocumentInput] = []
    batch_bytes = 0
    for document in found:
        size = document.ByteSize()
        if batch and (len(batch) == MAX_BATCH_DOCUMENTS or batch_bytes + size > max_bytes):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(document)
        batch_bytes += size
    if batch:
        yield batch


async def _send(
    channel: Channel, request: IngestDocumentsRequest, headers: tuple[tuple[str, str], ...]
) -> IngestDocumentsResponse:
    for attempt in range(MAX_ATTEMPTS - 1):
        try:
            return await channel.unary(
                RetrievalService.IngestDocuments, request, deadline=Deadline.after(TIMEOUT), headers=headers
            )
        except InvalidRequest as error:
            raise Refused(_describe_violations(error, request)) from error
        except GraphmeshError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(max(0.1 * 2**attempt, error.retry_after or 0))
    return await channel.unary(
        RetrievalService.IngestDocuments, request, deadline=Deadline.after(TIMEOUT), headers=headers
    )


def _describe_violations(error: InvalidRequest, request: IngestDocumentsRequest) -> str:
    """Return a line for each violation, with its file."""
    lines = []
    for violation in error.violations:
        match = re.match(r"documents\[(\d+)\]\.?(.*)", violation.field)
        field = f"{request.documents[int(match[1])].uri}: {match[2]}" if match else violation.field
        lines.append(f"{field}: {violation.description}")
    return "\n".join(lines) or error.message


def ingest_command(
    folder: Annotated[
        Path, typer.Argument(help="The folder to search recursively for *.md.", exists=True, file_okay=False)
    ],
    address: Annotated[str, typer.Option(help="host:port of retrieval or a mesh; by default the running mesh.")] = "",
    tenant: Annotated[str, typer.Option(help="The tenant of the documents.")] = "default",
    uri_prefix: Annotated[str, typer.Option(help="Prefix of a document's URI, before the file's path.")] = "",
    as_json: AsJson = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Store a folder of Markdown in retrieval, so that agents can search it.

    Files are identified by their paths: a repeated ingestion replaces what has changed, and deletes nothing.
    """
    check_tenant(tenant)
    done = asyncio.run(_ingest_at(mesh_address(address, state), folder, tenant, uri_prefix))
    if as_json:
        return print_json_line(done)
    counts = f"{done.added_count} added, {done.replaced_count} replaced, {done.unchanged_count} unchanged"
    none = "" if done.added_count + done.replaced_count + done.unchanged_count else f"{folder} has no *.md files: "
    return console().print(f"{none}{counts}; {done.passage_count} new passages", soft_wrap=True)


async def _ingest_at(address: str, folder: Path, tenant: str, uri_prefix: str) -> IngestDocumentsResponse:
    async with Channel(address) as channel, noted(f"storing the documents of {folder}"):
        return await ingest(channel, documents(folder, uri_prefix), tenant=tenant)
