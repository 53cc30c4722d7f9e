"""Refuses the parts of a prompt that a model does not take, by name."""

from collections.abc import Mapping
from typing import Any

from graphmesh_chassis.errors import RuleViolated

from graphmesh_model.accounting.tokens import media_of
from graphmesh_model.domain import Media, MediaKind, Prompt
from graphmesh_model.faults import Fault

PDF = "application/pdf"
INPUTS: Mapping[MediaKind, str] = {
    MediaKind.IMAGE: "image_inputs",
    MediaKind.AUDIO: "audio_inputs",
    MediaKind.VIDEO: "video_inputs",
}
"""The entries of LangChain's model profiles."""
ENFORCES_SCHEMAS = frozenset({"openai", "azure_openai", "anthropic"})
"""Vendors that enforce schemas, also where a model has no profile."""


def require_supported(prompt: Prompt, profile: Mapping[str, Any], vendor: str, model: str) -> None:
    """Check `prompt` against a model's profile. What the profile does not state is left to the vendor.

    Raises:
        RuleViolated: it has media, tools or options that the model does not take.
    """
    options = {
        "temperature": prompt.temperature is not None,
        "tool_calling": bool(prompt.tools),
        "structured_output": prompt.strict,
    }
    for name, used in options.items():
        if used and profile.get(name) is False:
            raise unsupported(vendor, model, "strict" if name == "structured_output" else name)
    if prompt.strict and "structured_output" not in profile and vendor not in ENFORCES_SCHEMAS:
        raise unsupported(vendor, model, "strict")
    for media in media_of(prompt):
        if profile.get(_input(media)) is False:
            raise unsupported(vendor, model, f"{media.kind.value} of a message")


def media_kinds(prompt: Prompt) -> list[str]:
    """Return the kinds of media in a prompt."""
    return sorted({media.kind.value for media in media_of(prompt)})


def unsupported(vendor: str, model: str, part: str) -> RuleViolated:
    message, fault = f"The model {model} of {vendor} does not take {part}", Fault.UNSUPPORTED.value
    return RuleViolated(message, rule="not_supported", provider=vendor, model=model, part=part, fault=fault)


def _input(media: Media) -> str:
    is_pdf = media.kind is MediaKind.FILE and media.mime_type == PDF
    return "pdf_inputs" if is_pdf else INPUTS.get(media.kind, "")
