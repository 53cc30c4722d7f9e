"""Sessions of clients with threads: pure functions of a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from graphmesh_orchestrator.runs.run import Multitask

STEPS = ("start", "charge", "pause", "ticket")
"""The steps of a run that append to the log of its thread, in order."""
RUNS = (3, 5)
"""The range of the number of runs on a thread."""
LONG_TIMEOUT = 4 * 3600.0
"""The deadline of a run in seconds, of most runs; they end long before, on a loaded machine too."""
SHORT_TIMEOUT = (0.3, 3.0)
"""The range of deadlines that a run may miss."""
SHORT_TIMEOUT_SHARE, CANCEL_SHARE, UPDATE_SHARE, DUPLICATE_SHARE = 0.15, 0.25, 0.5, 0.25
"""The shares of runs with such a deadline, of those that a client cancels, of those that an update of the thread
follows, and of those that are requested twice at once."""
CANCEL_AFTER = (0.0, 2.5)
"""The range of seconds between the creation of a run and its cancellation."""
MAX_PAUSE = 0.8
"""Seconds."""


class Pause(StrEnum):
    """How a run pauses between its effects."""

    TIME = "time"
    """It sleeps."""
    CANCELLATION = "cancellation"
    """It waits until it is cancelled."""
    ANSWER = "answer"
    """It parks until a client answers a question."""
    DEATH = "death"
    """It kills its worker, each time that it is executed."""


PAUSES = {Pause.TIME: 6, Pause.CANCELLATION: 1, Pause.ANSWER: 2}
"""The relative frequencies of pauses."""


@dataclass(frozen=True, order=True)
class Turn:
    """A run of a session."""

    at: float
    """Seconds after the start."""
    name: str
    """Unique in the experiment; without dots."""
    amount: int
    """The amount of its charge, in minor units."""
    copies: int = 1
    """The number of concurrent requests for it, all with one request_id."""
    strategy: Multitask = Multitask.ENQUEUE
    pause: Pause = Pause.TIME
    seconds: float = 0.0
    """The length of a pause of time."""
    timeout: float = LONG_TIMEOUT
    cancel_after: float | None = None
    """Seconds from its creation until a client cancels it; None: no client does."""
    is_updated: bool = False
    """Whether a client tries to append to the thread's log as soon as the run has ended."""


@dataclass(frozen=True, order=True)
class Session:
    """The runs on one thread, in the order of time."""

    thread_id: str
    turns: Sequence[Turn]


def sessions(seed: int, *, threads: int, seconds: float) -> list[Session]:
    """Sessions with so many threads, whose runs are created within `seconds`."""
    random = Random(f"threads {seed}")
    return [Session(f"thread-{number}", sorted(_turns(random, number, seconds))) for number in range(threads)]


def poisoned_session(seed: int) -> Session:
    """A session whose one run kills its workers."""
    random = Random(f"poison {seed}")
    return Session("poisoned", [Turn(0.2, "poisoned-0", random.randint(1, 40_00), pause=Pause.DEATH)])


def _turns(random: Random, thread: int, seconds: float) -> Iterator[Turn]:
    begin = random.uniform(0, seconds / 2)
    for number in range(random.randint(*RUNS)):
        [pause] = random.choices(list(PAUSES), list(PAUSES.values()))
        is_cancelled = pause is Pause.CANCELLATION or random.random() < CANCEL_SHARE
        is_short = random.random() < SHORT_TIMEOUT_SHARE
        yield Turn(
            at=round(begin + random.uniform(0, seconds / 2), 3),
            name=f"t{thread}-{number}",
            amount=random.randint(1, 80_00),
            copies=2 if random.random() < DUPLICATE_SHARE else 1,
            strategy=random.choice(list(Multitask)),
            pause=pause,
            seconds=round(random.uniform(0, MAX_PAUSE), 3),
            timeout=round(random.uniform(*SHORT_TIMEOUT), 3) if is_short else LONG_TIMEOUT,
            cancel_after=round(random.uniform(*CANCEL_AFTER), 3) if is_cancelled else None,
            is_updated=random.random() < UPDATE_SHARE,
        )
