"""Lists of messages that do not grow without end."""

from collections.abc import Callable, Sequence
from typing import cast

from langchain_core.messages import AnyMessage, BaseMessage, MessageLikeRepresentation, SystemMessage, trim_messages
from langgraph.graph.message import Messages, add_messages

MessagesReducer = Callable[[Messages, Messages], Messages]


def bounded(limit: int) -> MessagesReducer:
    """A reducer that keeps the newest messages, at most `limit` (B9).

        messages: Annotated[list[AnyMessage], bounded(50)]

    It merges as LangGraph's `add_messages` does: by id, with removals. Of a longer list it keeps the system message at
    its beginning and then the newest that begin with a human message, so a call of a tool and its answers stay or go
    together. A last turn that is longer than `limit` by itself is kept whole: without its question it is worth
    nothing. What is dropped is gone from the state; older checkpoints have it.
    """
    if limit < 2:
        raise ValueError(f"a list of {limit} messages has no room for a question and an answer")

    def reduce(left: Messages, right: Messages) -> Messages:
        merged = cast(list[AnyMessage], add_messages(left, right))
        return cast(Messages, merged if len(merged) <= limit else _newest(merged, limit))

    return reduce


def _newest(messages: Sequence[AnyMessage], limit: int) -> Sequence[BaseMessage]:
    kept = trim_messages(
        cast(Sequence[MessageLikeRepresentation], messages),
        max_tokens=limit,
        token_counter=len,
        strategy="last",
        start_on="human",
        include_system=True,
    )
    return kept if any(message.type == "human" for message in kept) else _last_turn(messages)


def _last_turn(messages: Sequence[AnyMessage]) -> Sequence[BaseMessage]:
    """The system message and all from the last human message on; everything, where there is none."""
    questions = [number for number, message in enumerate(messages) if message.type == "human"]
    if not questions:
        return messages
    first = messages[:1] if isinstance(messages[0], SystemMessage) and questions[-1] > 0 else []
    return [*first, *messages[questions[-1] :]]
