"""Message lists of bounded length."""

from collections.abc import Callable, Sequence
from typing import cast

from langchain_core.messages import AnyMessage, BaseMessage, MessageLikeRepresentation, SystemMessage, trim_messages
from langgraph.graph.message import Messages, add_messages

MessagesReducer = Callable[[Messages, Messages], Messages]


def bounded_messages(limit: int) -> MessagesReducer:
    """Make a reducer that keeps the newest messages, at most `limit`.

        messages: Annotated[list[AnyMessage], bounded_messages(50)]

    It merges as LangGraph's `add_messages` does: by id, with removals. Of a longer list it keeps the system message at
    its beginning and then the newest messages from a human message on, so that a tool call and its results are kept or
    dropped together. A last turn that is longer than `limit` by itself is kept whole: without its question it is
    useless. Dropped messages are removed from the state; older checkpoints have them.

    Raises:
        ValueError: `limit` is less than 2.
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
    """The system message and all messages from the last human message on; all messages, where there is none."""
    questions = [number for number, message in enumerate(messages) if message.type == "human"]
    if not questions:
        return messages
    first = messages[:1] if isinstance(messages[0], SystemMessage) and questions[-1] > 0 else []
    return [*first, *messages[questions[-1] :]]
