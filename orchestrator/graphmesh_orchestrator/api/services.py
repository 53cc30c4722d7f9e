"""The root of the API: the services that an orchestrator serves with `--role all` or `--role api`."""

from collections.abc import Sequence

from graphmesh.orchestrator.v1 import (
    ApprovalService,
    AssistantService,
    RunService,
    ScheduleService,
    StoreService,
    ThreadService,
    WebhookService,
    add_ApprovalServiceServicer_to_server,
    add_AssistantServiceServicer_to_server,
    add_RunServiceServicer_to_server,
    add_ScheduleServiceServicer_to_server,
    add_StoreServiceServicer_to_server,
    add_ThreadServiceServicer_to_server,
    add_WebhookServiceServicer_to_server,
)
from graphmesh_chassis.serve import Service

from graphmesh_orchestrator.api.approval_service import ApprovalServicer
from graphmesh_orchestrator.api.assistant_service import AssistantServicer
from graphmesh_orchestrator.api.run_service import RunServicer
from graphmesh_orchestrator.api.run_watcher import RunWatcher
from graphmesh_orchestrator.api.schedule_service import ScheduleServicer
from graphmesh_orchestrator.api.store_service import StoreServicer
from graphmesh_orchestrator.api.submission import Begin, Submission
from graphmesh_orchestrator.api.thread_service import ThreadServicer
from graphmesh_orchestrator.api.webhook_service import WebhookServicer
from graphmesh_orchestrator.backend import Backend
from graphmesh_orchestrator.budgets.tenant_budgets import TenantBudgets
from graphmesh_orchestrator.graph_rates import GraphRates
from graphmesh_orchestrator.leases.in_flight import InFlight
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.registry import Registry
from graphmesh_orchestrator.roles import RoleRules
from graphmesh_orchestrator.run_requests import RunRequests
from graphmesh_orchestrator.settings import Settings
from graphmesh_orchestrator.threads.states import ThreadStates
from graphmesh_orchestrator.webhooks.receivers import Receivers


def services(
    settings: Settings,
    backend: Backend,
    registry: Registry,
    receivers: Receivers,
    in_flight: InFlight,
    notifier: Notifier,
    begin: Begin,
    roles: RoleRules,
    rates: GraphRates | None,
    budgets: TenantBudgets,
) -> Sequence[Service]:
    """Assemble the services. `begin` executes a run that this process holds from its creation on."""
    requests = RunRequests(registry, backend.assistants, receivers, roles, rates, budgets)
    submission = Submission(backend.runs, requests, in_flight, notifier, begin)
    watcher = RunWatcher(backend.runs, in_flight, notifier)
    states = ThreadStates(backend.database, registry, backend.interrupts, backend.runs)
    stores = backend.runs, backend.feedbacks, backend.interrupts
    runs = RunServicer(*stores, registry, submission, watcher, in_flight, notifier, backend.clock.now, roles, budgets)
    threads = ThreadServicer(backend.threads, states, backend.forks, backend.deletion, registry, roles)
    store = StoreServicer(backend.store, registry)
    assistants = AssistantServicer(backend.assistants, registry, backend.clock.now, roles)
    schedules = ScheduleServicer(
        backend.schedules,
        backend.threads,
        requests,
        submission,
        notifier.schedules_changed,
        backend.clock.now,
        settings.schedule_interval_seconds,
        roles,
    )
    approvals = ApprovalServicer(backend.approvals, notifier, budgets)
    webhooks = WebhookServicer(backend.deliveries, notifier)
    return [
        Service(RunService, add_RunServiceServicer_to_server, runs),
        Service(ThreadService, add_ThreadServiceServicer_to_server, threads),
        Service(StoreService, add_StoreServiceServicer_to_server, store),
        Service(AssistantService, add_AssistantServiceServicer_to_server, assistants),
        Service(ScheduleService, add_ScheduleServiceServicer_to_server, schedules),
        Service(ApprovalService, add_ApprovalServiceServicer_to_server, approvals),
        Service(WebhookService, add_WebhookServiceServicer_to_server, webhooks),
    ]
