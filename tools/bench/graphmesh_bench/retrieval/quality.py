"""Measures the quality of rankings: recall, MRR and nDCG of questions whose relevant documents are known."""

import json
import math
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import typer
from graphmesh.retrieval import v1 as pb
from graphmesh_chassis.channel import Channel

from graphmesh_bench.retrieval.plain_full_text import Fts5
from graphmesh_bench.retrieval.service import ingest, search, served

DEPTH: Final = 10
"""Documents of a ranking that are judged."""
PASSAGES: Final = 50
"""Passages that a search returns; of several of one document the first counts."""
Rank = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the ids of the documents for a question, best first."""


@dataclass(frozen=True)
class Question:
    """A question with the ids of the documents that answer it."""

    text: str
    relevant: frozenset[str]


@dataclass(frozen=True)
class QualitySet:
    """Documents and questions about them."""

    name: str
    documents: Sequence[pb.DocumentInput]
    questions: Sequence[Question]


@dataclass(frozen=True)
class Quality:
    """Means over the questions of a set, from 0 to 1."""

    recall_1: float
    recall_3: float
    recall_10: float
    mrr: float
    ndcg: float


def read_set(file: Path) -> QualitySet:
    """Read a set in JSON lines.

    A line is a document (`{"id", "title", "text"}`, all other members of a document are allowed too), a folder of
    Markdown (`{"folder"}`, relative to the file), or a question (`{"question", "relevant"}`).

    Raises:
        typer.BadParameter: a line is none of them.
    """
    documents: list[pb.DocumentInput] = []
    questions: list[Question] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            if "folder" in item:
                documents += _markdown(file.parent / item["folder"])
            elif "question" in item:
                questions.append(Question(item["question"], frozenset(item["relevant"])))
            else:
                item["document_id"] = item.pop("id")
                documents.append(pb.DocumentInput(**item))
        except (ValueError, KeyError, TypeError) as error:
            raise typer.BadParameter(f"line {number} of {file} is no document, folder or question: {error}") from None
    return QualitySet(file.stem, documents, questions)


async def measure_quality(questions: Sequence[Question], rank: Rank) -> Quality:
    measures = [_measures(question.relevant, list(dict.fromkeys(await rank(question.text)))) for question in questions]
    return Quality(*(sum(column) / len(measures) for column in zip(*measures, strict=True)))


def _measures(relevant: frozenset[str], ranking: Sequence[str]) -> tuple[float, ...]:
    hits = [document in relevant for document in ranking[:DEPTH]]
    first = next((1 / place for place, hit in enumerate(hits, 1) if hit), 0.0)
    gain = sum(hit / math.log2(place + 1) for place, hit in enumerate(hits, 1))
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(len(relevant), DEPTH) + 1))
    # A question is answered by any of its documents, so recall is that at least one of them is found.
    return *(float(any(hits[:depth])) for depth in (1, 3, DEPTH)), first, gain / ideal


def _markdown(folder: Path) -> Iterator[Any]:
    for path in sorted(folder.rglob("*.md")):
        yield pb.DocumentInput(document_id=path.name, text=path.read_text(encoding="utf-8"))


@asynccontextmanager
async def rankings(quality_set: QualitySet, embedder: str) -> AsyncIterator[dict[str, Rank]]:
    """Yield the rankings of a set by name, each over a new database: FTS5, and retrieval without and with embedder."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="graphmesh-retrieval-"))
        plain = Fts5(Path(folder) / "plain.db")
        stack.push_async_callback(plain.close)
        await plain.add([(document.document_id, document.title, document.text) for document in quality_set.documents])
        found: dict[str, Rank] = {"FTS5": lambda question: plain.search(question, DEPTH)}
        for name, setting in {"retrieval, text": "", "retrieval, hybrid": embedder}.items():
            if name == "retrieval, text" or embedder:
                url = f"sqlite+aiosqlite:///{folder}/retrieval-{setting.replace(':', '-')}.db"
                channel = await stack.enter_async_context(served(url, setting))
                await ingest(channel, iter(quality_set.documents))
                found[name] = partial(_rank, channel)
        yield found


async def _rank(channel: Channel, question: str) -> Sequence[str]:
    return await search(channel, question, PASSAGES)
