"""The text of models in LangGraph's stream mode `messages`, which also has the messages that nodes return."""

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage

OF_MODELS = "ls_model_type"
"""The key of the metadata with which LangChain's models begin a call."""


def model_text(message: BaseMessage, metadata: Mapping[str, Any]) -> str:
    """Return the text of a part of the stream; empty where no model, but a node has written it."""
    return str(message.text) if OF_MODELS in metadata else ""
