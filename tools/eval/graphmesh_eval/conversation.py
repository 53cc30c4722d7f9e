"""Plays the turns of a case: runs on one thread, and the answers of the simulated person to what they park for."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphmesh.orchestrator.v1 import Interrupt, Run
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_client import Client
from graphmesh_client.interrupts import interrupt_value
from graphmesh_client.run_status import RunPhase, phase_of, status_name
from graphmesh_contracts import struct_value

from graphmesh_eval.agents import answer_of, input_of, texts_of
from graphmesh_eval.cases import Answer, Case
from graphmesh_eval.person import Manner, Proposed, accepts, proposal_in
from graphmesh_eval.scene import Scene

RUN_SECONDS = 120.0
MAX_ANSWERS = 12
"""Interrupts of one case that are answered; the run is cancelled then."""


@dataclass
class Transcript:
    """What people have seen of a case, and what it has used."""

    thread_id: str = ""
    run_ids: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    """Of the ends of runs, and the questions of interrupts, in order."""
    outputs: list[Mapping[str, Any]] = field(default_factory=list)
    proposals: list[Proposed] = field(default_factory=list)
    approvals: int = 0
    errors: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Of each time that the person has waited for the agent."""
    tokens: int = 0
    cost_micro_usd: int = 0
    unanswered: bool = False
    """Whether the last run was left with a question that the case has no answer for."""

    @property
    def text(self) -> str:
        """Everything that people have seen."""
        outputs = [text for output in self.outputs for text in texts_of(output)]
        proposals = [text for proposal in self.proposals for text in texts_of(proposal.content)]
        return "\n".join([*self.answers, *outputs, *proposals])


class Conversation:
    """The turns of one case.

    Args:
        client: with the identity of the case's caller.
        approver: another person, who answers approvals.
    """

    def __init__(
        self, agent: str, client: Client, approver: Client, case: Case, scene: Scene, manner: Manner = Manner.STRICT
    ) -> None:
        self._agent, self._client, self._approver = agent, client, approver
        self._case, self._scene, self._manner = case, scene, manner
        self._turns = deque(case.turns)
        self._answered = 0
        self.transcript = Transcript()

    async def play(self) -> Transcript:
        """Play all turns. A failure of the mesh ends the case, and is in the transcript."""
        try:
            while self._turns:
                turn = self._turns.popleft()
                if isinstance(turn, str):
                    await self._run(self._scene.fill(turn))
        except GraphmeshError as error:
            self.transcript.errors.append(f"{error.reason}: {error.message}")
        return self.transcript

    async def _run(self, message: str) -> None:
        found = self.transcript
        began = time.monotonic()
        given = input_of(self._agent, self._scene, message)
        begun = await self._client.create_run(self._agent, given, thread_id=found.thread_id, timeout=RUN_SECONDS)
        found.thread_id = begun.thread_id
        found.run_ids.append(begun.run_id)
        run = await self._client.wait_run(begun.run_id, timeout=RUN_SECONDS)
        found.seconds.append(time.monotonic() - began)
        while phase_of(run.status) is RunPhase.PARKED:
            run = await self._answer(run)
        self._record(run)

    async def _answer(self, run: Run) -> Run:
        """Answer the open interrupts of a parked run, or leave it."""
        self._answered += 1
        answers: dict[str, Any] = {}
        approvals = [one for one in run.interrupts if one.approval_id]
        for interrupt in run.interrupts:
            if not interrupt.approval_id:
                answer = self._reply(interrupt)
                if answer is None or self._answered > MAX_ANSWERS:
                    return await self._leave(run)
                answers[interrupt.interrupt_id] = answer
        began = time.monotonic()
        for interrupt in approvals:
            if not await self._decide(interrupt):
                return await self._leave(run)
        if answers:
            await self._client.resume_run(run.run_id, answers)
        resumed = await self._client.wait_run(run.run_id, timeout=RUN_SECONDS)
        self.transcript.seconds.append(time.monotonic() - began)
        return resumed

    def _reply(self, interrupt: Interrupt) -> Any:
        """Return the answer to a question; None where the case has none."""
        value = interrupt_value(interrupt)
        question = value.get("question") if isinstance(value, Mapping) else value
        self.transcript.answers.append(str(question))
        proposed = proposal_in(value)
        turn = self._turns[0] if self._turns else None
        if proposed is None:
            return self._next_message() if isinstance(turn, str) else None
        self.transcript.proposals.append(proposed)
        if isinstance(turn, str) and self._manner is Manner.STRICT:
            return {"message": self._next_message()}
        stated = turn if isinstance(turn, Answer) else None
        if stated:
            self._turns.popleft()
        accepted = accepts(proposed, stated, self._manner, self._case, self._scene)
        if stated and stated.say and accepted == (stated.answer == "accept"):
            return {"message": stated.say}
        return {"proposal": proposed.id, "accept": accepted}

    def _next_message(self) -> str:
        return self._scene.fill(str(self._turns.popleft()))

    async def _decide(self, interrupt: Interrupt) -> bool:
        """Answer an approval; return whether the case has an answer."""
        self.transcript.approvals += 1
        if self._case.approver == "none" and self._manner is Manner.STRICT:
            return False
        approve = self._case.approver == "approve" or self._manner is Manner.CARELESS
        await self._approver.approvals.respond(interrupt.approval_id, approve=approve)
        return True

    async def _leave(self, run: Run) -> Run:
        """End a run whose question the case does not answer."""
        self.transcript.unanswered = True
        await self._client.cancel_run(run.run_id, "the case has no answer to this question")
        return await self._client.wait_run(run.run_id, timeout=RUN_SECONDS)

    def _record(self, run: Run) -> None:
        found = self.transcript
        found.tokens += run.usage.input_tokens + run.usage.output_tokens
        found.cost_micro_usd += run.usage.cost_micro_usd
        if phase_of(run.status) is RunPhase.SUCCEEDED:
            output = struct_value(run.output)
            found.outputs.append(output)
            found.answers.append(answer_of(output))
        elif not found.unanswered:
            found.errors.append(f"{run.run_id} is {status_name(run.status)}: {run.error.message}")
