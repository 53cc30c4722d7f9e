"""Contracts of `graphmesh.model.v1`. Generated from protos; do not edit."""

from typing import Final

from graphmesh_contracts import Rpc, StreamingRpc

from .model_pb2 import AssistantMessage as AssistantMessage
from .model_pb2 import BudgetScope as BudgetScope
from .model_pb2 import BudgetStatus as BudgetStatus
from .model_pb2 import ChatMessage as ChatMessage
from .model_pb2 import ContentBlock as ContentBlock
from .model_pb2 import EmbedRequest as EmbedRequest
from .model_pb2 import EmbedResponse as EmbedResponse
from .model_pb2 import Embedding as Embedding
from .model_pb2 import FailedAttempt as FailedAttempt
from .model_pb2 import FinishReason as FinishReason
from .model_pb2 import GenerateRequest as GenerateRequest
from .model_pb2 import GenerateResponse as GenerateResponse
from .model_pb2 import ListBudgetsRequest as ListBudgetsRequest
from .model_pb2 import ListBudgetsResponse as ListBudgetsResponse
from .model_pb2 import ListModelsRequest as ListModelsRequest
from .model_pb2 import ListModelsResponse as ListModelsResponse
from .model_pb2 import ListUsageRequest as ListUsageRequest
from .model_pb2 import ListUsageResponse as ListUsageResponse
from .model_pb2 import Media as Media
from .model_pb2 import Model as Model
from .model_pb2 import Price as Price
from .model_pb2 import Prompt as Prompt
from .model_pb2 import Reasoning as Reasoning
from .model_pb2 import ReasoningDelta as ReasoningDelta
from .model_pb2 import StreamGenerateRequest as StreamGenerateRequest
from .model_pb2 import StreamGenerateResponse as StreamGenerateResponse
from .model_pb2 import SystemMessage as SystemMessage
from .model_pb2 import TextBlock as TextBlock
from .model_pb2 import Tool as Tool
from .model_pb2 import ToolCall as ToolCall
from .model_pb2 import ToolCallDelta as ToolCallDelta
from .model_pb2 import ToolChoice as ToolChoice
from .model_pb2 import ToolChoiceMode as ToolChoiceMode
from .model_pb2 import ToolResult as ToolResult
from .model_pb2 import Usage as Usage
from .model_pb2 import UsageDimension as UsageDimension
from .model_pb2 import UsageGroup as UsageGroup
from .model_pb2 import UserMessage as UserMessage
from .model_pb2_grpc import ModelServiceServicer as ModelServiceServicer
from .model_pb2_grpc import add_ModelServiceServicer_to_server as add_ModelServiceServicer_to_server


class ModelService:
    """The RPCs of `graphmesh.model.v1.ModelService`."""

    NAME: Final = "graphmesh.model.v1.ModelService"
    Generate: Final = Rpc(
        "/graphmesh.model.v1.ModelService/Generate", GenerateRequest, GenerateResponse
    )
    StreamGenerate: Final = StreamingRpc(
        "/graphmesh.model.v1.ModelService/StreamGenerate", StreamGenerateRequest, StreamGenerateResponse
    )
    Embed: Final = Rpc(
        "/graphmesh.model.v1.ModelService/Embed", EmbedRequest, EmbedResponse
    )
    ListModels: Final = Rpc(
        "/graphmesh.model.v1.ModelService/ListModels", ListModelsRequest, ListModelsResponse
    )
    ListUsage: Final = Rpc(
        "/graphmesh.model.v1.ModelService/ListUsage", ListUsageRequest, ListUsageResponse
    )
    ListBudgets: Final = Rpc(
        "/graphmesh.model.v1.ModelService/ListBudgets", ListBudgetsRequest, ListBudgetsResponse
    )
