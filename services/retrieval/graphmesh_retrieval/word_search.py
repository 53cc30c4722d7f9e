"""Ranks passages by the words of a query, and reads as few postings as the ranking needs.

Of a large corpus the postings of the rarest words are read first. The commonest words, which have the most postings,
can hardly change which passages are the best: mostly they are read for the blocks of the best candidates alone.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import numpy as np

from graphmesh_retrieval.analysis.terms import QueryWord
from graphmesh_retrieval.documents import Documents, Lists
from graphmesh_retrieval.domain import Corpus
from graphmesh_retrieval.postings import BLOCK_PASSAGES
from graphmesh_retrieval.ranking import Numbers, Ranked, Ranking, Rest, rest_of

FIRST_POSTINGS: Final = 50_000
"""Postings that are read first: those of the rarest words, and of one word at least."""
MAX_POSTINGS: Final = 500_000
"""Postings that are read where candidates do not suffice, without those of the rarest word."""
MAX_CANDIDATES: Final = 500
"""Passages to which further words are added."""
FEW_CANDIDATES: Final = 20
"""As `MAX_CANDIDATES`, for a word that is too common for their blocks."""
MAX_CANDIDATE_POSTINGS: Final = 250_000
"""Postings that are read in the blocks of the candidates; then the commonest words are left out."""
MIN_COUNTED_PASSAGES: Final = 2 * BLOCK_PASSAGES
"""Passages of a corpus from which on postings are counted before they are read."""
MIN_THREAD_POSTINGS: Final = 20_000
"""Postings from which on they are ranked in a thread, so that the event loop continues."""

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Plan:
    """The order in which the words of a query are read, the rarest first."""

    first: Sequence[QueryWord]
    second: Sequence[QueryWord] = ()
    """Those that are read whole only where the first do not decide which passages are the best."""
    others: Sequence[QueryWord] = ()
    """Those that are added to candidates alone."""
    sizes: Mapping[QueryWord, int] = field(default_factory=dict)
    """The number of postings of each word; empty where all words are read at once."""
    known: Lists = field(default_factory=dict)
    """The posting lists that are read already."""

    @property
    def is_whole(self) -> bool:
        return not self.sizes

    def first_terms(self) -> list[int]:
        """Return the terms whose posting lists are to be read first."""
        return self.unknown_terms((*self.first, *self.others) if self.is_whole else self.first)

    def unknown_terms(self, words: Sequence[QueryWord]) -> list[int]:
        return [term for word in words for term in word.terms if term not in self.known]


async def plan_words(documents: Documents, words: Sequence[QueryWord], corpus: Corpus) -> Plan:
    """Plan a search. `words` have one at least that is no function word."""
    content = [word for word in words if not word.is_function_word]
    function_words = [word for word in words if word.is_function_word]
    if corpus.next_number < MIN_COUNTED_PASSAGES:
        return Plan(content, others=function_words)
    surveyed = await documents.survey([term for word in words for term in word.terms])
    sizes = {word: sum(surveyed[term].size for term in word.terms if term in surveyed) for word in words}
    known = {term: found.rows for term, found in surveyed.items() if found.rows is not None}
    known |= {term: () for word in words for term in word.terms if term not in surveyed}
    content.sort(key=sizes.__getitem__)
    function_words.sort(key=sizes.__getitem__)
    first = max(1, _affordable(content, sizes, FIRST_POSTINGS))
    second = _affordable(content[first:], sizes, MAX_POSTINGS)
    others = [*content[first + second :], *function_words]
    return Plan(content[:first], content[first : first + second], others, sizes, known)


async def rank_by_words(
    documents: Documents, corpus: Corpus, plan: Plan, lists: Lists, hidden: Numbers, limit: int, min_score: float
) -> list[Ranked]:
    """Return the best passages without the `hidden` ones. `lists` are those of the plan's first terms."""
    ranking = Ranking(corpus, hidden)
    lists = {**lists, **plan.known}
    await _run(lists, lambda: ranking.add(plan.first, lists))
    if plan.is_whole:
        await _run(lists, lambda: ranking.refine(plan.others, lists, plan.sizes))
        return ranking.best(limit, min_score)
    words = (*plan.second, *plan.others)
    if plan.second and not ranking.narrow(limit, _rest(corpus, words, plan), min_score, limit)[1]:
        found = {**plan.known, **await documents.lists(plan.unknown_terms(plan.second))}
        await _run(found, lambda: ranking.add(plan.second, found))
        words = tuple(plan.others)
    await _refine(documents, corpus, ranking, plan, words, limit, min_score)
    return ranking.best(limit, min_score)


async def _refine(
    documents: Documents,
    corpus: Corpus,
    ranking: Ranking,
    plan: Plan,
    words: Sequence[QueryWord],
    limit: int,
    min_score: float,
) -> None:
    """Add words to the candidates, which each word makes fewer, as far as the budget goes."""
    budget = MAX_CANDIDATE_POSTINGS
    most = max(MAX_CANDIDATES, limit)
    while words:
        candidates, _ = ranking.narrow(limit, _rest(corpus, words, plan), min_score, most)
        blocks = np.unique(candidates // BLOCK_PASSAGES).tolist()
        share = len(blocks) / len(corpus.blocks)
        estimates = {word: round(share * plan.sizes[word]) for word in words}
        count = _affordable(words, estimates, budget)
        if count:
            added = words[:count]
            lists = {**plan.known, **await documents.lists(plan.unknown_terms(added), blocks)}
            await _run(lists, partial(ranking.refine, added, lists, plan.sizes))
            words = words[count:]
            budget -= sum(estimates[word] for word in added)
        elif most > max(FEW_CANDIDATES, limit):
            most = max(FEW_CANDIDATES, limit)
        else:
            return


def _rest(corpus: Corpus, words: Sequence[QueryWord], plan: Plan) -> Rest:
    return rest_of(corpus, [(word, plan.sizes[word]) for word in words])


def _affordable(words: Sequence[QueryWord], sizes: Mapping[QueryWord, int], budget: int) -> int:
    """Return how many of the words have `budget` postings together at the most."""
    for count, word in enumerate(words):
        budget -= sizes[word]
        if budget < 0:
            return count
    return len(words)


async def _run(lists: Lists, function: Callable[[], ResultT]) -> ResultT:
    """Call a function that takes time for each posting."""
    if sum(len(entries) for rows in lists.values() for _, entries in rows) // 4 < MIN_THREAD_POSTINGS:
        return function()
    return await asyncio.to_thread(function)
