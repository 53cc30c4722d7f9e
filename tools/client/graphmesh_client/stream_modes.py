"""Stream modes by their names, which are LangGraph's but for `text`."""

from collections.abc import Mapping

from graphmesh.orchestrator.v1 import StreamMode

STREAM_MODES: Mapping[str, StreamMode.ValueType] = {
    "updates": StreamMode.STREAM_MODE_UPDATES,
    "custom": StreamMode.STREAM_MODE_CUSTOM,
    "text": StreamMode.STREAM_MODE_TEXT,
    "messages": StreamMode.STREAM_MODE_MESSAGES,
    "values": StreamMode.STREAM_MODE_VALUES,
    "tasks": StreamMode.STREAM_MODE_TASKS,
    "checkpoints": StreamMode.STREAM_MODE_CHECKPOINTS,
    "debug": StreamMode.STREAM_MODE_DEBUG,
}
