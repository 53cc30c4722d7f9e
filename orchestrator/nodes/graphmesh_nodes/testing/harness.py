"""Runs a graph in the process of a test, as the orchestrator would."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message
from graphmesh.model.v1 import ModelService, Prompt
from graphmesh.model.v1 import Usage as ModelUsage
from graphmesh_contracts import Method, Overrides
from langgraph.store.memory import InMemoryStore
from langgraph.types import StateSnapshot

from graphmesh_nodes.approval_terms import ApprovalAnswer, ApprovalStatus, ApprovalTerms, approval_id, require_four_eyes
from graphmesh_nodes.artifacts import MemoryArtifacts
from graphmesh_nodes.breakpoints import breakpoint_of
from graphmesh_nodes.budget import NO_LIMITS, Limits
from graphmesh_nodes.context import Policies
from graphmesh_nodes.errors import ApprovalExpired, GraphmeshError, InvalidRequest
from graphmesh_nodes.graph_contexts import GraphContext
from graphmesh_nodes.graph_inputs import GraphInput
from graphmesh_nodes.json_values import to_json
from graphmesh_nodes.testing.errors import HarnessError
from graphmesh_nodes.testing.fake_clock import FakeClock
from graphmesh_nodes.testing.model_twin import ModelTwin, Reply
from graphmesh_nodes.testing.results import PendingApproval, Question, RunResult
from graphmesh_nodes.testing.run_recorder import RunRecorder
from graphmesh_nodes.testing.twin_mesh import Fault, Handler, RecordedCall, TwinMesh, lost_response
from graphmesh_nodes.testing.worker import Graph, Identity, Worker

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

RUN_DEADLINE = timedelta(hours=1)


class GraphHarness:
    """A graph on a thread of its own, with twins of the services that it calls.

    The run is executed as in production: checkpoints before effects, retries, deadlines, budget, approvals, resumption
    in the next epoch. Time is `clock`, which no test has to wait for.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        limits: Limits = NO_LIMITS,
        deadline: timedelta = RUN_DEADLINE,
        overrides: Mapping[str, Overrides] | None = None,
        tenant: str = "default",
        subject: str = "local",
        thread_id: str = "th_1",
        roles: Collection[str] | None = None,
    ) -> None:
        """Compile the graph with a checkpointer in memory.

        Args:
            limits: the most that each run may use.
            deadline: the time of each run, without the time that it is parked.
            roles: the names of the caller's roles; None: no role restricts it.
            overrides: overrides of policies by the service's full name, as in `mesh.yaml`.

        Raises:
            HarnessError: the graph breaks a rule of graphmesh, such as that of `escalate`.
        """
        self.clock, self.artifacts, self.store = FakeClock(), MemoryArtifacts(), InMemoryStore()
        self._thread_id, self._deadline = thread_id, deadline
        policies = Policies(overrides)
        self._mesh, self._model = TwinMesh(policies), ModelTwin()
        self._mesh.serve(ModelService.Generate, self._model.generate)
        self._mesh.serve(ModelService.StreamGenerate, self._model.stream_generate)
        identity = Identity(tenant, subject, thread_id, None if roles is None else frozenset(roles))
        self._subject = subject
        self._worker = Worker(graph, self._mesh, identity, policies, limits, self.clock, self.artifacts, self.store)
        self._runs: list[RunRecorder] = []
        self._state: Mapping[str, Any] = {}
        self._approvals: dict[str, PendingApproval] = {}
        self._questions: dict[str, Question] = {}

    # Services

    def serve(self, rpc: Method[RequestT, ResponseT], handler: Handler[RequestT, ResponseT]) -> None:
        """Serve an RPC by a function of its request, synchronous or asynchronous. It returns the response (of a stream:
        the responses), or raises a GraphmeshError."""
        self._mesh.serve(rpc, handler)

    def serve_all(self, service: type[Any], twin: object) -> None:
        """Serve the RPCs of a service, `graphmesh.billing.v1.BillingService`, by the methods of their names that `twin`
        has."""
        for rpc in _rpcs(service):
            if handler := getattr(twin, rpc.method, None):
                self._mesh.serve(rpc, handler)

    def fail(self, target: Method[Any, Any] | type[Any], error: GraphmeshError, *, times: int | None = None) -> None:
        """Fail calls of an RPC, or of all RPCs of a service, before the twin gets them: the next `times`, or all.

        The graph retries as in production. An `Unreachable(flag="UF")`, which Envoy has retried already, is final.
        """
        for rpc in _rpcs(target):
            self._mesh.fail(rpc, Fault(error, times, after_execution=False))

    def lose_response(self, target: Method[Any, Any] | type[Any], *, times: int | None = None) -> None:
        """Let the twin execute calls, and answer them with ConnectionLost: the graph cannot know the outcome."""
        for rpc in _rpcs(target):
            self._mesh.fail(rpc, Fault(lost_response(rpc), times, after_execution=True))

    def heal(self, target: Method[Any, Any] | type[Any]) -> None:
        """End the failures of an RPC or of a service."""
        for rpc in _rpcs(target):
            self._mesh.heal(rpc)

    def calls(self, rpc: Method[RequestT, ResponseT]) -> list[RecordedCall[RequestT, ResponseT]]:
        """Return all attempts to call an RPC, in order."""
        return [call for call in self._mesh.calls if call.rpc == rpc]

    def executed(self, rpc: Method[RequestT, ResponseT]) -> list[RecordedCall[RequestT, ResponseT]]:
        """Return the calls that the twin has carried out: without failed attempts, and each effect once."""
        return [call for call in self.calls(rpc) if call.executed]

    # Models

    def model_replies(
        self,
        *replies: Reply | Callable[[Prompt], Reply],
        input_tokens: int = 10,
        output_tokens: int = 5,
        cost: int = 0,
        offline: bool = False,
    ) -> None:
        """Add replies of the model, in order: text, values of a requested schema, or an AIMessage with tool calls. A
        function replies to every further prompt.

        `input_tokens`, `output_tokens` and `cost` (millionths of a US dollar) are the usage of each call. `offline`
        makes them those of the offline composer, on which graphs do not act.
        """
        self._model.add(replies)
        self._model.offline = offline
        self._model.usage = ModelUsage(input_tokens=input_tokens, output_tokens=output_tokens, cost_micro_usd=cost)

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts that the model got, in order."""
        return self._model.prompts

    # Runs

    async def run(self, input: Mapping[str, Any] | None, *, context: Mapping[str, Any] | None = None) -> RunResult:
        """Run the graph on the harness's thread until it ends or waits for answers. Without an input, the run continues
        the thread. `context` is that of the graph's `context_schema`.

        Raises:
            InvalidRequest: the input or the context does not match the graph's schemas.
            HarnessError: an RPC has no twin, or a twin breaks its contract.
            Exception: a node raised it, and it is no GraphmeshError.
        """
        if input is not None:
            graph_input = GraphInput(self._worker.graph.builder)
            if violations := graph_input.violations(input, self._state):
                raise InvalidRequest(violations=violations)
            input = graph_input.by_channel(input)
        graph_context = GraphContext(self._worker.graph)
        if violations := graph_context.violations(context):
            raise InvalidRequest(violations=violations)
        self._approvals, self._questions = {}, {}
        run_id, seconds = f"run_{len(self._runs) + 1}", self._deadline.total_seconds()
        self._runs.append(RunRecorder(run_id, input, seconds, graph_context.of_run(context)))
        return await self._execute()

    async def answer(self, question: Question, value: Any) -> RunResult:
        """Answer an interrupt. The run resumes when no question and no approval is open."""
        self._questions.pop(question.interrupt_id)
        return await self._resume_with(question.interrupt_id, value)

    async def approve(self, approval: PendingApproval, *, by: str = "approver", comment: str = "") -> RunResult:
        """Approve a call. The run resumes when no question and no approval is open.

        Raises:
            ApprovalExpired: the time to answer is over.
            ApproverIsRequester: `by` is the subject of the harness, and the approval needs another approver.
        """
        return await self._respond(approval, ApprovalStatus.APPROVED, by, comment)

    async def deny(self, approval: PendingApproval, *, by: str = "approver", comment: str = "") -> RunResult:
        """Deny a call; otherwise as `approve`."""
        return await self._respond(approval, ApprovalStatus.DENIED, by, comment)

    async def advance(self, **by: float) -> RunResult:
        """Advance the clock, `advance(days=2)`, and let approvals expire: denials, with which the run resumes."""
        self.clock.advance(timedelta(**by))
        result = self._result()
        for approval in list(self._approvals.values()):
            if approval.expires <= self.clock.now():
                result = await self._close(approval, ApprovalStatus.EXPIRED, "", "")
        return result

    def crash_after(self, node: str) -> None:
        """Let the worker die once, after the next execution of a node and before anything of that is stored.

        The run resumes at once from its last checkpoint, in the next epoch, and executes the node again.
        """
        nodes = self._worker.graph.builder.nodes
        if node not in nodes:
            raise ValueError(f"the graph has no node {node}; it has {', '.join(nodes)}")
        self._worker.saver.crash_after = node

    def crash_in_call(self, rpc: Method[Any, Any], *, number: int = 1) -> None:
        """Let the worker die once, in the `number`-th call of an RPC from now on: after the twin has executed it, and
        before its response arrives.

        The run resumes as after `crash_after`.
        """
        self._mesh.calls_until_crash[rpc.path] = number

    # Execution

    async def _respond(self, approval: PendingApproval, status: ApprovalStatus, by: str, comment: str) -> RunResult:
        if approval.expires <= self.clock.now():
            raise ApprovalExpired(approval=approval.approval_id, tool=approval.tool)
        require_four_eyes(approval.four_eyes, status, by, {self._subject})
        return await self._close(approval, status, by, comment)

    async def _close(self, approval: PendingApproval, status: ApprovalStatus, by: str, comment: str) -> RunResult:
        del self._approvals[approval.interrupt_id]
        epoch = self._current.epoch
        answer = ApprovalAnswer(approval.approval_id, approval.digest, status, by, comment, epoch, self._thread_id)
        return await self._resume_with(approval.interrupt_id, answer.to_resume())

    async def _resume_with(self, interrupt_id: str, value: Any) -> RunResult:
        self._current.answers[interrupt_id] = value
        return self._result() if self._approvals or self._questions else await self._execute()

    async def _execute(self) -> RunResult:
        state = await self._worker.execute(self._current)
        if errors := [*self._mesh.errors, *self._model.errors]:
            raise errors[0]
        self._state = state.values
        if self._current.error is None:
            self._park(state)
        result = self._result()
        if result.status == "success" and (node := self._worker.saver.crash_after):
            raise HarnessError(f"the run has ended before the node {node} was executed: nothing has crashed")
        if result.status == "success" and self._mesh.calls_until_crash:
            raise HarnessError("the run has ended before the call in which it was to crash: nothing has crashed")
        return result

    def _park(self, state: StateSnapshot) -> None:
        """Open the questions and approvals that the graph waits for."""
        for task in state.tasks:
            for interrupt in task.interrupts:
                if terms := ApprovalTerms.from_interrupt(interrupt.value):
                    self._approvals[interrupt.id] = self._approval(interrupt.id, task.name, terms)
                else:
                    self._questions[interrupt.id] = Question(interrupt.id, task.name, to_json(interrupt.value))
        if stop := breakpoint_of(state):
            self._questions[stop.id] = Question(stop.id, state.next[0], to_json(stop.value))

    def _approval(self, interrupt_id: str, node: str, terms: ApprovalTerms) -> PendingApproval:
        return PendingApproval(
            approval_id=approval_id(self._current.run_id, interrupt_id),
            interrupt_id=interrupt_id,
            node=node,
            tool=terms.tool,
            arguments=terms.arguments,
            digest=terms.digest,
            question=terms.question,
            scopes=terms.scopes,
            four_eyes=terms.four_eyes,
            expires=datetime.fromtimestamp(self.clock.time() + terms.ttl, UTC),
        )

    def _result(self) -> RunResult:
        run = self._current
        waits = bool(self._approvals or self._questions)
        return RunResult(
            status="error" if run.error else "interrupted" if waits else "success",
            state=self._state,
            approvals=list(self._approvals.values()),
            questions=list(self._questions.values()),
            error=run.error,
            nodes=list(run.nodes),
            tool_calls=list(run.tool_calls),
            decisions=list(run.decisions),
            custom_events=list(run.custom_events),
            text=run.text,
            usage=run.usage,
            epoch=run.epoch,
            values=run.values,
        )

    @property
    def _current(self) -> RunRecorder:
        if not self._runs:
            raise RuntimeError("no run has begun: call run() first")
        return self._runs[-1]


def _rpcs(target: Method[Any, Any] | type[Any]) -> list[Method[Any, Any]]:
    return [target] if isinstance(target, Method) else [rpc for rpc in vars(target).values() if isinstance(rpc, Method)]
