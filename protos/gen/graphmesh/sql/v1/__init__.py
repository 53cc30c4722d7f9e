"""Contracts of `graphmesh.sql.v1`. Generated from protos; do not edit."""

from typing import Final

from graphmesh_contracts import Rpc, StreamingRpc

from .sql_pb2 import ColumnType as ColumnType
from .sql_pb2 import Dataset as Dataset
from .sql_pb2 import DescribeMetricsRequest as DescribeMetricsRequest
from .sql_pb2 import DescribeMetricsResponse as DescribeMetricsResponse
from .sql_pb2 import DescribeSchemaRequest as DescribeSchemaRequest
from .sql_pb2 import DescribeSchemaResponse as DescribeSchemaResponse
from .sql_pb2 import Dialect as Dialect
from .sql_pb2 import EstimateQueryRequest as EstimateQueryRequest
from .sql_pb2 import EstimateQueryResponse as EstimateQueryResponse
from .sql_pb2 import ForeignKey as ForeignKey
from .sql_pb2 import MetricFilter as MetricFilter
from .sql_pb2 import Parameter as Parameter
from .sql_pb2 import QueryEstimate as QueryEstimate
from .sql_pb2 import QueryMetricsRequest as QueryMetricsRequest
from .sql_pb2 import QueryMetricsResponse as QueryMetricsResponse
from .sql_pb2 import QueryRule as QueryRule
from .sql_pb2 import ResultColumn as ResultColumn
from .sql_pb2 import ResultColumns as ResultColumns
from .sql_pb2 import ResultLimit as ResultLimit
from .sql_pb2 import ResultRows as ResultRows
from .sql_pb2 import ResultSummary as ResultSummary
from .sql_pb2 import Row as Row
from .sql_pb2 import RunQueryRequest as RunQueryRequest
from .sql_pb2 import RunQueryResponse as RunQueryResponse
from .sql_pb2 import Table as Table
from .sql_pb2 import TableColumn as TableColumn
from .sql_pb2 import Value as Value
from .sql_pb2_grpc import SqlServiceServicer as SqlServiceServicer
from .sql_pb2_grpc import add_SqlServiceServicer_to_server as add_SqlServiceServicer_to_server


class SqlService:
    """The RPCs of `graphmesh.sql.v1.SqlService`."""

    NAME: Final = "graphmesh.sql.v1.SqlService"
    DescribeSchema: Final = Rpc(
        "/graphmesh.sql.v1.SqlService/DescribeSchema", DescribeSchemaRequest, DescribeSchemaResponse
    )
    RunQuery: Final = StreamingRpc(
        "/graphmesh.sql.v1.SqlService/RunQuery", RunQueryRequest, RunQueryResponse
    )
    DescribeMetrics: Final = Rpc(
        "/graphmesh.sql.v1.SqlService/DescribeMetrics", DescribeMetricsRequest, DescribeMetricsResponse
    )
    QueryMetrics: Final = StreamingRpc(
        "/graphmesh.sql.v1.SqlService/QueryMetrics", QueryMetricsRequest, QueryMetricsResponse
    )
    EstimateQuery: Final = Rpc(
        "/graphmesh.sql.v1.SqlService/EstimateQuery", EstimateQueryRequest, EstimateQueryResponse
    )
