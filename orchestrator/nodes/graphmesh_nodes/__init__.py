"""The package that graph authors import: remote nodes, run context, approvals, chat model, tools for models.

`graphmesh_nodes.errors` has the errors, `graphmesh_nodes.testing` runs a graph in a unit test. The other modules are
for the orchestrator. docs/graphmesh_nodes.md describes all of it.
"""

from graphmesh_contracts import service

from graphmesh_nodes.approval import ApprovalRequest, ApprovalRule
from graphmesh_nodes.artifacts import Artifacts
from graphmesh_nodes.budget import Budget, Limits, Usage
from graphmesh_nodes.calls import call, stream
from graphmesh_nodes.chat_model import GraphmeshChatModel
from graphmesh_nodes.clock import Clock
from graphmesh_nodes.context import RunContext, run_context
from graphmesh_nodes.decisions import Decision, Escalated, RouteTaken, Validated
from graphmesh_nodes.declaration import declare
from graphmesh_nodes.fallbacks import Fallback, Node, Update, degrade, escalate, instead
from graphmesh_nodes.message_history import bounded_messages
from graphmesh_nodes.model_tools import ToolSchema, tool_schema, tool_schemas
from graphmesh_nodes.policies import AgentPolicy, agent_policy
from graphmesh_nodes.recording import record_escalation, record_validation
from graphmesh_nodes.remote_node import remote
from graphmesh_nodes.routes import routed
from graphmesh_nodes.rpc_tools import proposal_of, run_customer, tools
from graphmesh_nodes.tool_calls import ToolCalled

__all__ = [
    "AgentPolicy",
    "ApprovalRequest",
    "ApprovalRule",
    "Artifacts",
    "Budget",
    "Clock",
    "Decision",
    "Escalated",
    "Fallback",
    "GraphmeshChatModel",
    "Limits",
    "Node",
    "RouteTaken",
    "RunContext",
    "ToolCalled",
    "ToolSchema",
    "Update",
    "Usage",
    "Validated",
    "agent_policy",
    "bounded_messages",
    "call",
    "declare",
    "degrade",
    "escalate",
    "instead",
    "proposal_of",
    "record_escalation",
    "record_validation",
    "remote",
    "routed",
    "run_context",
    "run_customer",
    "service",
    "stream",
    "tool_schema",
    "tool_schemas",
    "tools",
]
