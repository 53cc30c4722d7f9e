"""Contracts of `graphmesh.orchestrator.v1`. Generated from protos; do not edit."""

from typing import Final

from graphmesh_contracts import Rpc, StreamingRpc

from .approvals_pb2 import Approval as Approval
from .approvals_pb2 import ApprovalStatus as ApprovalStatus
from .approvals_pb2 import Decision as Decision
from .approvals_pb2 import GetApprovalRequest as GetApprovalRequest
from .approvals_pb2 import GetApprovalResponse as GetApprovalResponse
from .approvals_pb2 import ListApprovalsRequest as ListApprovalsRequest
from .approvals_pb2 import ListApprovalsResponse as ListApprovalsResponse
from .approvals_pb2 import RespondApprovalRequest as RespondApprovalRequest
from .approvals_pb2 import RespondApprovalResponse as RespondApprovalResponse
from .approvals_pb2_grpc import ApprovalServiceServicer as ApprovalServiceServicer
from .approvals_pb2_grpc import add_ApprovalServiceServicer_to_server as add_ApprovalServiceServicer_to_server
from .assistants_pb2 import Assistant as Assistant
from .assistants_pb2 import CreateAssistantRequest as CreateAssistantRequest
from .assistants_pb2 import CreateAssistantResponse as CreateAssistantResponse
from .assistants_pb2 import DeleteAssistantRequest as DeleteAssistantRequest
from .assistants_pb2 import DeleteAssistantResponse as DeleteAssistantResponse
from .assistants_pb2 import GetAssistantRequest as GetAssistantRequest
from .assistants_pb2 import GetAssistantResponse as GetAssistantResponse
from .assistants_pb2 import ListAssistantVersionsRequest as ListAssistantVersionsRequest
from .assistants_pb2 import ListAssistantVersionsResponse as ListAssistantVersionsResponse
from .assistants_pb2 import SearchAssistantsRequest as SearchAssistantsRequest
from .assistants_pb2 import SearchAssistantsResponse as SearchAssistantsResponse
from .assistants_pb2 import SetLatestAssistantVersionRequest as SetLatestAssistantVersionRequest
from .assistants_pb2 import SetLatestAssistantVersionResponse as SetLatestAssistantVersionResponse
from .assistants_pb2 import UpdateAssistantRequest as UpdateAssistantRequest
from .assistants_pb2 import UpdateAssistantResponse as UpdateAssistantResponse
from .assistants_pb2_grpc import AssistantServiceServicer as AssistantServiceServicer
from .assistants_pb2_grpc import add_AssistantServiceServicer_to_server as add_AssistantServiceServicer_to_server
from .orchestrator_pb2 import BudgetStatus as BudgetStatus
from .orchestrator_pb2 import CancelRunRequest as CancelRunRequest
from .orchestrator_pb2 import CancelRunResponse as CancelRunResponse
from .orchestrator_pb2 import Ceilings as Ceilings
from .orchestrator_pb2 import CreateRunRequest as CreateRunRequest
from .orchestrator_pb2 import CreateRunResponse as CreateRunResponse
from .orchestrator_pb2 import Escalated as Escalated
from .orchestrator_pb2 import ExecuteRunRequest as ExecuteRunRequest
from .orchestrator_pb2 import ExecuteRunResponse as ExecuteRunResponse
from .orchestrator_pb2 import Feedback as Feedback
from .orchestrator_pb2 import GetRunRequest as GetRunRequest
from .orchestrator_pb2 import GetRunResponse as GetRunResponse
from .orchestrator_pb2 import Graph as Graph
from .orchestrator_pb2 import GraphDeclaration as GraphDeclaration
from .orchestrator_pb2 import GraphRole as GraphRole
from .orchestrator_pb2 import Heartbeat as Heartbeat
from .orchestrator_pb2 import Interrupt as Interrupt
from .orchestrator_pb2 import ListBudgetsRequest as ListBudgetsRequest
from .orchestrator_pb2 import ListBudgetsResponse as ListBudgetsResponse
from .orchestrator_pb2 import ListGraphsRequest as ListGraphsRequest
from .orchestrator_pb2 import ListGraphsResponse as ListGraphsResponse
from .orchestrator_pb2 import ListRunsRequest as ListRunsRequest
from .orchestrator_pb2 import ListRunsResponse as ListRunsResponse
from .orchestrator_pb2 import MessageStreamed as MessageStreamed
from .orchestrator_pb2 import MultitaskStrategy as MultitaskStrategy
from .orchestrator_pb2 import NodeFinished as NodeFinished
from .orchestrator_pb2 import NodeStarted as NodeStarted
from .orchestrator_pb2 import OpenEffect as OpenEffect
from .orchestrator_pb2 import RecordFeedbackRequest as RecordFeedbackRequest
from .orchestrator_pb2 import RecordFeedbackResponse as RecordFeedbackResponse
from .orchestrator_pb2 import ResumeRunRequest as ResumeRunRequest
from .orchestrator_pb2 import ResumeRunResponse as ResumeRunResponse
from .orchestrator_pb2 import RouteTaken as RouteTaken
from .orchestrator_pb2 import Run as Run
from .orchestrator_pb2 import RunEvent as RunEvent
from .orchestrator_pb2 import RunStatus as RunStatus
from .orchestrator_pb2 import RunUsage as RunUsage
from .orchestrator_pb2 import RunView as RunView
from .orchestrator_pb2 import StatusChanged as StatusChanged
from .orchestrator_pb2 import StreamMode as StreamMode
from .orchestrator_pb2 import StreamRunRequest as StreamRunRequest
from .orchestrator_pb2 import StreamRunResponse as StreamRunResponse
from .orchestrator_pb2 import TextDelta as TextDelta
from .orchestrator_pb2 import ToolCalled as ToolCalled
from .orchestrator_pb2 import Validated as Validated
from .orchestrator_pb2 import Versions as Versions
from .orchestrator_pb2 import WaitRunRequest as WaitRunRequest
from .orchestrator_pb2 import WaitRunResponse as WaitRunResponse
from .orchestrator_pb2_grpc import RunServiceServicer as RunServiceServicer
from .orchestrator_pb2_grpc import add_RunServiceServicer_to_server as add_RunServiceServicer_to_server
from .schedules_pb2 import CatchUp as CatchUp
from .schedules_pb2 import CreateScheduleRequest as CreateScheduleRequest
from .schedules_pb2 import CreateScheduleResponse as CreateScheduleResponse
from .schedules_pb2 import DeleteScheduleRequest as DeleteScheduleRequest
from .schedules_pb2 import DeleteScheduleResponse as DeleteScheduleResponse
from .schedules_pb2 import GetScheduleRequest as GetScheduleRequest
from .schedules_pb2 import GetScheduleResponse as GetScheduleResponse
from .schedules_pb2 import ListSchedulesRequest as ListSchedulesRequest
from .schedules_pb2 import ListSchedulesResponse as ListSchedulesResponse
from .schedules_pb2 import PauseScheduleRequest as PauseScheduleRequest
from .schedules_pb2 import PauseScheduleResponse as PauseScheduleResponse
from .schedules_pb2 import ResumeScheduleRequest as ResumeScheduleRequest
from .schedules_pb2 import ResumeScheduleResponse as ResumeScheduleResponse
from .schedules_pb2 import Schedule as Schedule
from .schedules_pb2 import ScheduleSpec as ScheduleSpec
from .schedules_pb2 import ScheduleStatus as ScheduleStatus
from .schedules_pb2 import TriggerScheduleRequest as TriggerScheduleRequest
from .schedules_pb2 import TriggerScheduleResponse as TriggerScheduleResponse
from .schedules_pb2 import UpdateScheduleRequest as UpdateScheduleRequest
from .schedules_pb2 import UpdateScheduleResponse as UpdateScheduleResponse
from .schedules_pb2_grpc import ScheduleServiceServicer as ScheduleServiceServicer
from .schedules_pb2_grpc import add_ScheduleServiceServicer_to_server as add_ScheduleServiceServicer_to_server
from .store_pb2 import DeleteItemRequest as DeleteItemRequest
from .store_pb2 import DeleteItemResponse as DeleteItemResponse
from .store_pb2 import GetItemRequest as GetItemRequest
from .store_pb2 import GetItemResponse as GetItemResponse
from .store_pb2 import Item as Item
from .store_pb2 import ListNamespacesRequest as ListNamespacesRequest
from .store_pb2 import ListNamespacesResponse as ListNamespacesResponse
from .store_pb2 import Namespace as Namespace
from .store_pb2 import PutItemRequest as PutItemRequest
from .store_pb2 import PutItemResponse as PutItemResponse
from .store_pb2 import SearchItemsRequest as SearchItemsRequest
from .store_pb2 import SearchItemsResponse as SearchItemsResponse
from .store_pb2_grpc import StoreServiceServicer as StoreServiceServicer
from .store_pb2_grpc import add_StoreServiceServicer_to_server as add_StoreServiceServicer_to_server
from .threads_pb2 import CreateThreadRequest as CreateThreadRequest
from .threads_pb2 import CreateThreadResponse as CreateThreadResponse
from .threads_pb2 import DeleteThreadRequest as DeleteThreadRequest
from .threads_pb2 import DeleteThreadResponse as DeleteThreadResponse
from .threads_pb2 import ForkThreadRequest as ForkThreadRequest
from .threads_pb2 import ForkThreadResponse as ForkThreadResponse
from .threads_pb2 import GetThreadRequest as GetThreadRequest
from .threads_pb2 import GetThreadResponse as GetThreadResponse
from .threads_pb2 import GetThreadStateRequest as GetThreadStateRequest
from .threads_pb2 import GetThreadStateResponse as GetThreadStateResponse
from .threads_pb2 import ListThreadStatesRequest as ListThreadStatesRequest
from .threads_pb2 import ListThreadStatesResponse as ListThreadStatesResponse
from .threads_pb2 import ListThreadsRequest as ListThreadsRequest
from .threads_pb2 import ListThreadsResponse as ListThreadsResponse
from .threads_pb2 import PruneThreadsRequest as PruneThreadsRequest
from .threads_pb2 import PruneThreadsResponse as PruneThreadsResponse
from .threads_pb2 import ReadArtifactRequest as ReadArtifactRequest
from .threads_pb2 import ReadArtifactResponse as ReadArtifactResponse
from .threads_pb2 import Thread as Thread
from .threads_pb2 import ThreadState as ThreadState
from .threads_pb2 import ThreadStateView as ThreadStateView
from .threads_pb2 import ThreadStatus as ThreadStatus
from .threads_pb2 import ThreadTask as ThreadTask
from .threads_pb2 import UpdateThreadRequest as UpdateThreadRequest
from .threads_pb2 import UpdateThreadResponse as UpdateThreadResponse
from .threads_pb2 import UpdateThreadStateRequest as UpdateThreadStateRequest
from .threads_pb2 import UpdateThreadStateResponse as UpdateThreadStateResponse
from .threads_pb2_grpc import ThreadServiceServicer as ThreadServiceServicer
from .threads_pb2_grpc import add_ThreadServiceServicer_to_server as add_ThreadServiceServicer_to_server
from .webhooks_pb2 import Delivery as Delivery
from .webhooks_pb2 import DeliveryStatus as DeliveryStatus
from .webhooks_pb2 import ListDeliveriesRequest as ListDeliveriesRequest
from .webhooks_pb2 import ListDeliveriesResponse as ListDeliveriesResponse
from .webhooks_pb2 import RetryDeliveryRequest as RetryDeliveryRequest
from .webhooks_pb2 import RetryDeliveryResponse as RetryDeliveryResponse
from .webhooks_pb2_grpc import WebhookServiceServicer as WebhookServiceServicer
from .webhooks_pb2_grpc import add_WebhookServiceServicer_to_server as add_WebhookServiceServicer_to_server


class ApprovalService:
    """The RPCs of `graphmesh.orchestrator.v1.ApprovalService`."""

    NAME: Final = "graphmesh.orchestrator.v1.ApprovalService"
    ListApprovals: Final = Rpc(
        "/graphmesh.orchestrator.v1.ApprovalService/ListApprovals", ListApprovalsRequest, ListApprovalsResponse
    )
    GetApproval: Final = Rpc(
        "/graphmesh.orchestrator.v1.ApprovalService/GetApproval", GetApprovalRequest, GetApprovalResponse
    )
    RespondApproval: Final = Rpc(
        "/graphmesh.orchestrator.v1.ApprovalService/RespondApproval", RespondApprovalRequest, RespondApprovalResponse
    )


class AssistantService:
    """The RPCs of `graphmesh.orchestrator.v1.AssistantService`."""

    NAME: Final = "graphmesh.orchestrator.v1.AssistantService"
    CreateAssistant: Final = Rpc(
        "/graphmesh.orchestrator.v1.AssistantService/CreateAssistant", CreateAssistantRequest, CreateAssistantResponse
    )
    GetAssistant: Final = Rpc(
        "/graphmesh.orchestrator.v1.AssistantService/GetAssistant", GetAssistantRequest, GetAssistantResponse
    )
    SearchAssistants: Final = Rpc(
        "/graphmesh.orchestrator.v1.AssistantService/SearchAssistants", SearchAssistantsRequest, SearchAssistantsResponse
    )
    UpdateAssistant: Final = Rpc(
        "/graphmesh.orchestrator.v1.AssistantService/UpdateAssistant", UpdateAssistantRequest, UpdateAssistantResponse
    )
    DeleteAssistant: Final = Rpc(
        "/graphmesh.orchestrator.v1.AssistantService/DeleteAssistant", DeleteAssistantRequest, DeleteAssistantResponse
    )
    ListAssistantVersions: Final = Rpc(
        "/graphmesh.orchestrator.v1.AssistantService/ListAssistantVersions", ListAssistantVersionsRequest, ListAssistantVersionsResponse
    )
    SetLatestAssistantVersion: Final = Rpc(
        "/graphmesh.orchestrator.v1.AssistantService/SetLatestAssistantVersion", SetLatestAssistantVersionRequest, SetLatestAssistantVersionResponse
    )


class RunService:
    """The RPCs of `graphmesh.orchestrator.v1.RunService`."""

    NAME: Final = "graphmesh.orchestrator.v1.RunService"
    CreateRun: Final = Rpc(
        "/graphmesh.orchestrator.v1.RunService/CreateRun", CreateRunRequest, CreateRunResponse
    )
    GetRun: Final = Rpc(
        "/graphmesh.orchestrator.v1.RunService/GetRun", GetRunRequest, GetRunResponse
    )
    WaitRun: Final = Rpc(
        "/graphmesh.orchestrator.v1.RunService/WaitRun", WaitRunRequest, WaitRunResponse
    )
    ExecuteRun: Final = Rpc(
        "/graphmesh.orchestrator.v1.RunService/ExecuteRun", ExecuteRunRequest, ExecuteRunResponse
    )
    StreamRun: Final = StreamingRpc(
        "/graphmesh.orchestrator.v1.RunService/StreamRun", StreamRunRequest, StreamRunResponse
    )
    ListRuns: Final = Rpc(
        "/graphmesh.orchestrator.v1.RunService/ListRuns", ListRunsRequest, ListRunsResponse
    )
    CancelRun: Final = Rpc(
        "/graphmesh.orchestrator.v1.RunService/CancelRun", CancelRunRequest, CancelRunResponse
    )
    ResumeRun: Final = Rpc(
        "/graphmesh.orchestrator.v1.RunService/ResumeRun", ResumeRunRequest, ResumeRunResponse
    )
    RecordFeedback: Final = Rpc(
        "/graphmesh.orchestrator.v1.RunService/RecordFeedback", RecordFeedbackRequest, RecordFeedbackResponse
    )
    ListBudgets: Final = Rpc(
        "/graphmesh.orchestrator.v1.RunService/ListBudgets", ListBudgetsRequest, ListBudgetsResponse
    )
    ListGraphs: Final = Rpc(
        "/graphmesh.orchestrator.v1.RunService/ListGraphs", ListGraphsRequest, ListGraphsResponse
    )


class ScheduleService:
    """The RPCs of `graphmesh.orchestrator.v1.ScheduleService`."""

    NAME: Final = "graphmesh.orchestrator.v1.ScheduleService"
    CreateSchedule: Final = Rpc(
        "/graphmesh.orchestrator.v1.ScheduleService/CreateSchedule", CreateScheduleRequest, CreateScheduleResponse
    )
    GetSchedule: Final = Rpc(
        "/graphmesh.orchestrator.v1.ScheduleService/GetSchedule", GetScheduleRequest, GetScheduleResponse
    )
    ListSchedules: Final = Rpc(
        "/graphmesh.orchestrator.v1.ScheduleService/ListSchedules", ListSchedulesRequest, ListSchedulesResponse
    )
    UpdateSchedule: Final = Rpc(
        "/graphmesh.orchestrator.v1.ScheduleService/UpdateSchedule", UpdateScheduleRequest, UpdateScheduleResponse
    )
    PauseSchedule: Final = Rpc(
        "/graphmesh.orchestrator.v1.ScheduleService/PauseSchedule", PauseScheduleRequest, PauseScheduleResponse
    )
    ResumeSchedule: Final = Rpc(
        "/graphmesh.orchestrator.v1.ScheduleService/ResumeSchedule", ResumeScheduleRequest, ResumeScheduleResponse
    )
    TriggerSchedule: Final = Rpc(
        "/graphmesh.orchestrator.v1.ScheduleService/TriggerSchedule", TriggerScheduleRequest, TriggerScheduleResponse
    )
    DeleteSchedule: Final = Rpc(
        "/graphmesh.orchestrator.v1.ScheduleService/DeleteSchedule", DeleteScheduleRequest, DeleteScheduleResponse
    )


class StoreService:
    """The RPCs of `graphmesh.orchestrator.v1.StoreService`."""

    NAME: Final = "graphmesh.orchestrator.v1.StoreService"
    PutItem: Final = Rpc(
        "/graphmesh.orchestrator.v1.StoreService/PutItem", PutItemRequest, PutItemResponse
    )
    GetItem: Final = Rpc(
        "/graphmesh.orchestrator.v1.StoreService/GetItem", GetItemRequest, GetItemResponse
    )
    DeleteItem: Final = Rpc(
        "/graphmesh.orchestrator.v1.StoreService/DeleteItem", DeleteItemRequest, DeleteItemResponse
    )
    SearchItems: Final = Rpc(
        "/graphmesh.orchestrator.v1.StoreService/SearchItems", SearchItemsRequest, SearchItemsResponse
    )
    ListNamespaces: Final = Rpc(
        "/graphmesh.orchestrator.v1.StoreService/ListNamespaces", ListNamespacesRequest, ListNamespacesResponse
    )


class ThreadService:
    """The RPCs of `graphmesh.orchestrator.v1.ThreadService`."""

    NAME: Final = "graphmesh.orchestrator.v1.ThreadService"
    CreateThread: Final = Rpc(
        "/graphmesh.orchestrator.v1.ThreadService/CreateThread", CreateThreadRequest, CreateThreadResponse
    )
    GetThread: Final = Rpc(
        "/graphmesh.orchestrator.v1.ThreadService/GetThread", GetThreadRequest, GetThreadResponse
    )
    ListThreads: Final = Rpc(
        "/graphmesh.orchestrator.v1.ThreadService/ListThreads", ListThreadsRequest, ListThreadsResponse
    )
    UpdateThread: Final = Rpc(
        "/graphmesh.orchestrator.v1.ThreadService/UpdateThread", UpdateThreadRequest, UpdateThreadResponse
    )
    DeleteThread: Final = Rpc(
        "/graphmesh.orchestrator.v1.ThreadService/DeleteThread", DeleteThreadRequest, DeleteThreadResponse
    )
    GetThreadState: Final = Rpc(
        "/graphmesh.orchestrator.v1.ThreadService/GetThreadState", GetThreadStateRequest, GetThreadStateResponse
    )
    ListThreadStates: Final = Rpc(
        "/graphmesh.orchestrator.v1.ThreadService/ListThreadStates", ListThreadStatesRequest, ListThreadStatesResponse
    )
    UpdateThreadState: Final = Rpc(
        "/graphmesh.orchestrator.v1.ThreadService/UpdateThreadState", UpdateThreadStateRequest, UpdateThreadStateResponse
    )
    ForkThread: Final = Rpc(
        "/graphmesh.orchestrator.v1.ThreadService/ForkThread", ForkThreadRequest, ForkThreadResponse
    )
    PruneThreads: Final = Rpc(
        "/graphmesh.orchestrator.v1.ThreadService/PruneThreads", PruneThreadsRequest, PruneThreadsResponse
    )
    ReadArtifact: Final = StreamingRpc(
        "/graphmesh.orchestrator.v1.ThreadService/ReadArtifact", ReadArtifactRequest, ReadArtifactResponse
    )


class WebhookService:
    """The RPCs of `graphmesh.orchestrator.v1.WebhookService`."""

    NAME: Final = "graphmesh.orchestrator.v1.WebhookService"
    ListDeliveries: Final = Rpc(
        "/graphmesh.orchestrator.v1.WebhookService/ListDeliveries", ListDeliveriesRequest, ListDeliveriesResponse
    )
    RetryDelivery: Final = Rpc(
        "/graphmesh.orchestrator.v1.WebhookService/RetryDelivery", RetryDeliveryRequest, RetryDeliveryResponse
    )
