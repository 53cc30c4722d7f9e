"""Models of servers that speak OpenAI's protocol, with the reasoning that many of them add to it."""

from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI

from graphmesh_model.langchain_content import REASONING

FIELDS = (REASONING, "reasoning")
"""The fields of servers: those of vLLM and DeepSeek, and of Ollama and OpenRouter."""


class OpenAICompatible(ChatOpenAI):
    """ChatOpenAI leaves out what is not OpenAI's own."""

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        result = super()._create_chat_result(response, generation_info)
        body = response if isinstance(response, dict) else response.model_dump()
        for generation, choice in zip(result.generations, body["choices"], strict=True):
            _add_reasoning(generation.message, choice.get("message"))
        return result

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        made = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        choices = chunk.get("choices")
        if made and choices:
            _add_reasoning(made.message, choices[0].get("delta"))
        return made


def _add_reasoning(message: Any, given: Any) -> None:
    found = next((text for name in FIELDS if isinstance(text := (given or {}).get(name), str) and text), None)
    if found and isinstance(message, AIMessage):
        message.additional_kwargs[REASONING] = found
