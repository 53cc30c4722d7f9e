"""Reads the text of documents in HTML, PDF and Word.

Each file is parsed in a process of its own, which is limited in time, CPU and memory: a hostile file ends its process,
and never the service.
"""

import asyncio
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import Final

from graphmesh_retrieval.domain import Draft, Format, Unreadable
from graphmesh_retrieval.file_parsers import MAX_TEXT_BYTES, TOO_LARGE

PACKAGES: Final = {Format.HTML: "selectolax", Format.PDF: "pypdf", Format.DOCX: "docx"}
"""The module of the parser; its extra is named like the format."""
MAX_PROCESSES: Final = 2
MAX_WALL_RATIO: Final = 5
"""The longest time of a parser, in multiples of its CPU time: the machine may be busy."""


class FileReader:
    """Reads files, a few at a time."""

    def __init__(self, seconds: int) -> None:
        """`seconds`: the longest CPU time of a file."""
        self._seconds = seconds
        self._free = asyncio.Semaphore(MAX_PROCESSES)

    async def read(self, drafts: Iterable[Draft]) -> dict[str, Draft | Unreadable]:
        """Return each document with its text, by id; those in a format of text as they are."""
        drafts = list(drafts)
        read = await asyncio.gather(*map(self._read, drafts))
        return {draft.document_id: result for draft, result in zip(drafts, read, strict=True)}

    async def _read(self, draft: Draft) -> Draft | Unreadable:
        if draft.format not in PACKAGES:
            return draft
        name = draft.format.name
        if find_spec(PACKAGES[draft.format]) is None:
            return Unreadable(f"the service cannot read {name}: it needs its extra `{name.lower()}`")
        async with self._free:
            return await self._parse(draft, name)

    async def _parse(self, draft: Draft, name: str) -> Draft | Unreadable:
        command = (sys.executable, "-m", "graphmesh_retrieval.file_parsers", name, str(self._seconds))
        pipe, silent = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=silent)
        try:
            async with asyncio.timeout(MAX_WALL_RATIO * self._seconds):
                output, _ = await process.communicate(draft.content or draft.text.encode())
        except TimeoutError:
            return Unreadable(f"reading it as {name} takes too long")
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode == TOO_LARGE:
            return Unreadable(f"it has more than {MAX_TEXT_BYTES:,} bytes of text, or too many pages")
        if process.returncode:
            return Unreadable(f"it is no {name} file that can be read within the limits of time and memory")
        text = output.decode(errors="replace").replace("\0", "")
        return replace(draft, text=text, content=b"") if text.strip() else Unreadable("it has no text")
