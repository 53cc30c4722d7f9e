"""Plays the cases of a dataset on a mesh, a bounded number at a time, and judges each by its records."""

import asyncio
import json
import random
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from graphmesh_cli.commands.sample_shop import SAMPLE
from graphmesh_cli.commands.service_calls import ServiceCalls
from graphmesh_client import Client
from graphmesh_client.token import TokenSource

from graphmesh_eval.books import Books, Changes, cash_paid_out, changes, read_books
from graphmesh_eval.cases import Case
from graphmesh_eval.conversation import Conversation, Transcript
from graphmesh_eval.hostile.arsenal import INVENTED, MARKS
from graphmesh_eval.person import Manner
from graphmesh_eval.scene import Person, SceneMaker, scene_maker
from graphmesh_eval.scoring import Surroundings, Verdict, judge, shingles

COMMAND = "graphmesh eval"
CALLER, APPROVER = "eval", "eval-approver"
"""Subjects: an approver must not be the caller where the policy wants four eyes."""
CONCURRENT = 4
RETRY_SECONDS = 60.0

TokenFor = Callable[[str, Sequence[str]], TokenSource | None]
"""Returns the source of tokens of a subject with roles; without roles those of a developer."""


@dataclass(frozen=True)
class Target:
    """The mesh that the cases are played on."""

    edge: str
    calls: ServiceCalls
    token: TokenFor


@dataclass(frozen=True)
class Plan:
    """What is played: the cases, how often, in which order."""

    agent: str
    cases: Sequence[Case]
    repeat: int = 1
    seed: int = 0
    limit: int = 0
    """The number of cases, chosen by the seed; 0: all."""
    manner: Manner = Manner.STRICT
    surroundings: Surroundings = field(default_factory=Surroundings)
    concurrent: int = CONCURRENT

    @property
    def plays(self) -> list[tuple[Case, int]]:
        """Return the cases in the order of the seed, each with the number of its repetition."""
        chance = random.Random(self.seed)
        chosen = chance.sample(self.cases, min(self.limit or len(self.cases), len(self.cases)))
        plays = [(case, number) for number in range(self.repeat) for case in chosen]
        chance.shuffle(plays)
        return plays


@dataclass(frozen=True)
class Played:
    """A case that was played."""

    case: Case
    repetition: int
    transcript: Transcript
    verdict: Verdict


@dataclass(frozen=True)
class Evaluation:
    played: Sequence[Played]
    outside: Mapping[str, Changes]
    """Records of the shop's other customers that were changed, by the ids of these."""
    unexplained: Mapping[str, int]
    """Money that has left the ledger and is of no customer that was read, by currency, in minor units."""


def surroundings_of(folder: Path, *, is_hostile: bool = False) -> Surroundings:
    """Return what is the same for all cases of the agent in a folder, with its prompts beside it."""
    texts = [text for file in sorted((folder / "prompts").glob("*")) for text in _instructions(file)]
    articles = {file.name: file.read_text(encoding="utf-8") for file in sorted((SAMPLE / "articles").glob("*.md"))}
    rows = [json.loads(line) for line in (SAMPLE / "customers.jsonl").read_text(encoding="utf-8").splitlines()]
    secrets = [row[name] for row in rows for name in ("email", "phone") if row.get(name)]
    return Surroundings(
        secrets=tuple(secrets),
        shingles=frozenset().union(*(shingles(text) for text in texts)),
        articles=articles,
        marks=MARKS if is_hostile else (),
        invented=(INVENTED,) if is_hostile else (),
    )


def _instructions(file: Path) -> list[str]:
    """Return the texts for models in a file of prompts; replies to customers are no secret."""
    if file.suffix == ".md":
        return [file.read_text(encoding="utf-8")]
    if file.suffix == ".toml":
        found = tomllib.loads(file.read_text(encoding="utf-8")).get("instructions")
        return [found] if isinstance(found, str) else []
    return []


async def evaluate(target: Target, plan: Plan, on_played: Callable[[Played], None] = lambda played: None) -> Evaluation:
    """Play the cases of a plan. The mesh has the sample shop. Raises GraphmeshError where it cannot be prepared."""
    maker = await scene_maker(target.calls, plan.cases)
    shop = await _read_shop(target.calls)
    paid_before = await cash_paid_out(target.calls)
    attributed: dict[str, int] = {}
    slots = asyncio.Semaphore(plan.concurrent)

    async def play(case: Case, repetition: int) -> Played:
        async with slots:
            played = await _play(target, plan, maker, case, repetition, attributed)
        on_played(played)
        return played

    played = await asyncio.gather(*(play(case, repetition) for case, repetition in plan.plays))
    outside = {key: changes(before, after) for key, before, after in await _shop_changes(target.calls, shop)}
    paid = await cash_paid_out(target.calls)
    unexplained = {
        currency: rest
        for currency, minor in paid.items()
        if (rest := minor - paid_before.get(currency, 0) - attributed.get(currency, 0))
    }
    changed = {key: one for key, one in outside.items() if one.refunds or one.values or one.tickets}
    for one in changed.values():
        for currency, minor in one.refunds:
            unexplained[currency] = unexplained.get(currency, 0) - minor
    return Evaluation(played, changed, {currency: rest for currency, rest in unexplained.items() if rest})


async def _play(
    target: Target, plan: Plan, maker: SceneMaker, case: Case, repetition: int, attributed: dict[str, int]
) -> Played:
    scene = await maker.make(case)
    people = (scene.customer, scene.stranger)
    before = [await read_books(target.calls, person) for person in people]
    async with _clients(target, case) as (client, approver):
        transcript = await Conversation(plan.agent, client, approver, case, scene, plan.manner).play()
    after = [await read_books(target.calls, person) for person in people]
    for books in after:
        for currency, minor in books.refunds.values():
            attributed[currency] = attributed.get(currency, 0) + minor
    own, other = (changes(*pair) for pair in zip(before, after, strict=True))
    verdict = judge(case, scene, transcript, own, other, plan.surroundings, plan.manner)
    return Played(case, repetition, transcript, verdict)


@asynccontextmanager
async def _clients(target: Target, case: Case) -> AsyncIterator[tuple[Client, Client]]:
    """Yield the client of the case's caller, and that of an approver."""
    caller = (case.caller.subject, case.caller.roles) if case.caller else (CALLER, ())
    tenant = target.calls.tenant
    async with (
        Client(target.edge, tenant=tenant, token=target.token(*caller), retry_timeout=RETRY_SECONDS) as client,
        Client(target.edge, tenant=tenant, token=target.token(APPROVER, ()), retry_timeout=RETRY_SECONDS) as approver,
    ):
        yield client, approver


async def _read_shop(calls: ServiceCalls) -> dict[str, Books]:
    """Read the books of the sample shop's customers, which no case may touch."""
    rows = [json.loads(line) for line in (SAMPLE / "customers.jsonl").read_text(encoding="utf-8").splitlines()]
    people = [Person(row["customerId"], row["name"], row.get("email", ""), "", (), ()) for row in rows]
    return {person.customer_id: await read_books(calls, person) for person in people}


async def _shop_changes(calls: ServiceCalls, before: Mapping[str, Books]) -> list[tuple[str, Books, Books]]:
    after = await _read_shop(calls)
    return [(key, before[key], after[key]) for key in before]
