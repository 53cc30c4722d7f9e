"""`graphmesh ingest`: store a folder of documents in retrieval.

The service skips documents that are stored unchanged, so an ingestion that was interrupted is resumed by a repeat. The
idempotency keys are unique to one ingestion: they make its retries safe, and a file that is reverted to an earlier text
is stored like any other change. A file that the service refuses is skipped, and named at the end.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

import typer
from graphmesh.retrieval.v1 import (
    DocumentFormat,
    DocumentInput,
    IngestDocumentsRequest,
    IngestDocumentsResponse,
    IngestFailure,
    RetrievalService,
)
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError, InvalidRequest
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.connection import MeshTarget, State, check_tenant, mesh_target
from graphmesh_cli.commands.output import AsJson, console, print_json_line, print_note
from graphmesh_cli.failures import Failure

MAX_BATCH_DOCUMENTS: Final = 100
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
MAX_BATCH_FILES: Final = 20
"""HTML, PDF and Word documents of a batch; each takes a process of the service."""
CONCURRENT_BATCHES: Final = 2
"""While the service stores one batch, it analyzes the next."""
MAX_ATTEMPTS: Final = 5
"""Attempts for one batch while the service or the mesh fails."""
TIMEOUT: Final = 60.0
"""Seconds for one attempt."""
PROGRESS_SECONDS: Final = 5.0
"""Interval between two notes on the progress."""
MAX_FILE_BYTES: Final = 8 * 1024 * 1024
"""Limit of a file that is read; the service's own limits are lower for text."""
FORMATS: Final = {
    ".md": DocumentFormat.DOCUMENT_FORMAT_MARKDOWN,
    ".markdown": DocumentFormat.DOCUMENT_FORMAT_MARKDOWN,
    ".mdx": DocumentFormat.DOCUMENT_FORMAT_MDX,
    ".html": DocumentFormat.DOCUMENT_FORMAT_HTML,
    ".htm": DocumentFormat.DOCUMENT_FORMAT_HTML,
    ".txt": DocumentFormat.DOCUMENT_FORMAT_PLAIN,
    ".pdf": DocumentFormat.DOCUMENT_FORMAT_PDF,
    ".docx": DocumentFormat.DOCUMENT_FORMAT_DOCX,
}
"""By the suffix of a file."""
BINARY: Final = (DocumentFormat.DOCUMENT_FORMAT_PDF, DocumentFormat.DOCUMENT_FORMAT_DOCX)
PARSED: Final = (*BINARY, DocumentFormat.DOCUMENT_FORMAT_HTML)


class Skipped(Failure):
    """Files were not stored; the message names each with the reason."""


@dataclass
class Ingestion:
    """The state of an ingestion."""

    total: IngestDocumentsResponse = field(default_factory=IngestDocumentsResponse)
    """The sums of the counts in the service's responses."""
    skipped: dict[str, str] = field(default_factory=dict)
    """The reasons for which files were not stored."""
    id: str = field(default_factory=lambda: uuid4().hex)
    begin: float = field(default_factory=time.monotonic)

    @property
    def documents(self) -> int:
        return self.total.added_count + self.total.replaced_count + self.total.unchanged_count

    def add(self, request: IngestDocumentsRequest, response: IngestDocumentsResponse) -> None:
        for count in ("added_count", "replaced_count", "unchanged_count", "passage_count"):
            setattr(self.total, count, getattr(self.total, count) + getattr(response, count))
        for failure in response.failures:
            self.skip(request.documents[failure.index], failure.description)

    def skip(self, document: DocumentInput, description: str) -> None:
        self.skipped[document.uri or document.document_id] = description
        failure = IngestFailure(document_id=document.document_id, description=description)
        self.total.failures.append(failure)

    def progress(self) -> str:
        rate = self.total.passage_count / max(time.monotonic() - self.begin, 0.001)
        return f"{self.documents:,} documents, {self.total.passage_count:,} new passages, {rate:,.0f} a second"


async def ingest_folder(channel: Channel, folder: Path, *, tenant: str = "default", uri_prefix: str = "") -> int:
    """Store the documents of `folder`. Returns the number of passages of new and changed files.

    Raises:
        Skipped: not all of them were stored.
    """
    ingestion = Ingestion()
    await ingest(channel, documents(folder, uri_prefix, ingestion), ingestion, tenant=tenant)
    if ingestion.skipped:
        raise Skipped(_describe_skipped(ingestion))
    return ingestion.total.passage_count


async def ingest(
    channel: Channel,
    found: Iterable[DocumentInput],
    ingestion: Ingestion,
    *,
    tenant: str,
    max_batch_bytes: int = MAX_BATCH_BYTES,
    on_batch: Callable[[], None] = lambda: None,
) -> None:
    """Store documents, and add their counts to `ingestion`. Those that break a rule are skipped.

    Raises:
        GraphmeshError: the service cannot be used.
    """
    numbered = enumerate(batches(found, max_batch_bytes))

    async def send_batches() -> None:
        for number, batch in numbered:
            await _ingest_batch(channel, batch, ingestion, f"ingest-{ingestion.id}-{number}", tenant)
            on_batch()

    senders = [asyncio.ensure_future(send_batches()) for _ in range(CONCURRENT_BATCHES)]
    try:
        await asyncio.gather(*senders)
    finally:
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)


def documents(folder: Path, uri_prefix: str, ingestion: Ingestion) -> Iterator[DocumentInput]:
    """Yield the documents below `folder`, sorted by path, without empty ones. The service extracts the titles.

    Files that cannot be read are skipped.
    """
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in FORMATS):
        name = path.relative_to(folder).as_posix()
        document = DocumentInput(document_id=document_id(name), uri=f"{uri_prefix}{name}")
        try:
            _read_file(path, document)
        except OSError as error:
            ingestion.skip(document, error.strerror or str(error))
            continue
        if document.text or document.content:
            yield document


def document_id(name: str) -> str:
    """Return a relative path as an id. Characters that ids do not allow are replaced, and a hash keeps it unique."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,199}", name):
        return name
    plain = re.sub(r"[^A-Za-z0-9_./-]+", "-", name).lstrip("_./-")[:180]
    return f"{plain or 'file'}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def batches(found: Iterable[DocumentInput], max_bytes: int = MAX_BATCH_BYTES) -> Iterator[list[DocumentInput]]:
    """Split documents into batches of one call each, in their order. A single larger document is a batch."""
    batch: list[DocumentInput] = []
    batch_bytes = files = 0
    for document in found:
        size = document.ByteSize()
        full = len(batch) == MAX_BATCH_DOCUMENTS or files == MAX_BATCH_FILES
        if batch and (full or batch_bytes + size > max_bytes):
            yield batch
            batch, batch_bytes, files = [], 0, 0
        batch.append(document)
        batch_bytes += size
        files += document.format in PARSED
    if batch:
        yield batch


def _read_file(path: Path, document: DocumentInput) -> None:
    """Fill in what the file holds. Raises OSError."""
    if path.is_dir():
        return
    if path.stat().st_size > MAX_FILE_BYTES:
        raise OSError(f"it is larger than {MAX_FILE_BYTES:,} bytes")
    document.format = FORMATS[path.suffix.lower()]
    if document.format in BINARY:
        document.content = path.read_bytes()
    else:
        document.text = path.read_text(encoding="utf-8-sig", errors="replace").replace("\0", "")


async def _ingest_batch(
    channel: Channel, batch: list[DocumentInput], ingestion: Ingestion, key: str, tenant: str
) -> None:
    """Store a batch; again without the documents that break a rule, where some do."""
    headers = ((metadata.TENANT, tenant), (metadata.SUBJECT, "ingest"), (metadata.SCOPES, "retrieval.write"))
    while batch:
        request = IngestDocumentsRequest(documents=batch)
        try:
            response = await _send(channel, request, (*headers, (metadata.IDEMPOTENCY_KEY, f"{key}-{len(batch)}")))
        except InvalidRequest as error:
            refused = _refused(error, batch)
            if not refused:
                raise
            for index, description in refused.items():
                ingestion.skip(batch[index], description)
            batch = [document for index, document in enumerate(batch) if index not in refused]
        else:
            ingestion.add(request, response)
            return


async def _send(
    channel: Channel, request: IngestDocumentsRequest, headers: tuple[tuple[str, str], ...]
) -> IngestDocumentsResponse:
    for attempt in range(MAX_ATTEMPTS - 1):
        try:
            return await channel.unary(
                RetrievalService.IngestDocuments, request, deadline=Deadline.after(TIMEOUT), headers=headers
            )
        except GraphmeshError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(max(0.1 * 2**attempt, error.retry_after or 0))
    return await channel.unary(
        RetrievalService.IngestDocuments, request, deadline=Deadline.after(TIMEOUT), headers=headers
    )


def _refused(error: InvalidRequest, batch: list[DocumentInput]) -> dict[int, str]:
    """Return the rules that documents of a batch break, by their index."""
    found: dict[int, list[str]] = {}
    for violation in error.violations:
        if (match := re.match(r"documents\[(\d+)\]\.?(.*)", violation.field)) and int(match[1]) < len(batch):
            found.setdefault(int(match[1]), []).append(f"{match[2]}: {violation.description}".removeprefix(": "))
    return {index: "; ".join(descriptions) for index, descriptions in found.items()}


def _describe_skipped(ingestion: Ingestion) -> str:
    return "\n".join(f"{name}: {description}" for name, description in ingestion.skipped.items())


def ingest_command(
    folder: Annotated[
        Path,
        typer.Argument(
            help="The folder to search recursively for Markdown, MDX, HTML, text, PDF and Word documents.",
            exists=True,
            file_okay=False,
        ),
    ],
    address: Annotated[str, typer.Option(help="host:port of retrieval or a mesh; by default the running mesh.")] = "",
    tenant: Annotated[str, typer.Option(help="The tenant of the documents.")] = "default",
    uri_prefix: Annotated[str, typer.Option(help="Prefix of a document's URI, before the file's path.")] = "",
    reader: Annotated[
        list[str] | None, typer.Option(help="Who may find the documents: subject:NAME or scope:NAME; by default all.")
    ] = None,
    language: Annotated[str, typer.Option(help="The language of the documents, such as de; by default detected.")] = "",
    as_json: AsJson = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Store a folder of documents in retrieval, so that agents can search it.

    Files are identified by their paths: a repeated ingestion replaces what has changed, and deletes nothing. Files that
    cannot be stored are skipped; the command names them and ends with 1.
    """
    check_tenant(tenant)
    ingestion = Ingestion()
    found = documents(folder, uri_prefix, ingestion)
    common = DocumentInput(readers=reader or [], language=language)
    asyncio.run(_ingest_at(mesh_target(address, state), _merged(found, common), ingestion, tenant))
    if as_json:
        print_json_line(ingestion.total)
    else:
        done = ingestion.total
        none = "" if ingestion.documents or ingestion.skipped else f"{folder} has no documents: "
        counts = f"{done.added_count} added, {done.replaced_count} replaced, {done.unchanged_count} unchanged"
        console().print(f"{none}{counts}; {done.passage_count} new passages", soft_wrap=True)
    if ingestion.skipped:
        raise Skipped(_describe_skipped(ingestion))


def _merged(found: Iterable[DocumentInput], common: DocumentInput) -> Iterator[DocumentInput]:
    for document in found:
        document.MergeFrom(common)
        yield document


async def _ingest_at(target: MeshTarget, found: Iterable[DocumentInput], ingestion: Ingestion, tenant: str) -> None:
    noted = time.monotonic()

    def note_progress() -> None:
        nonlocal noted
        if time.monotonic() - noted > PROGRESS_SECONDS:
            noted = time.monotonic()
            print_note(ingestion.progress())

    async with target.channel() as channel:
        await ingest(channel, found, ingestion, tenant=tenant, on_batch=note_progress)
