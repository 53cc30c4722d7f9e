"""A vendor's model is opened with its package, key and parameters, or refused in one sentence."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from graphmesh_chassis.settings import BadSetting
from graphmesh_model.alias_settings import ModelSettings
from graphmesh_model.vendor_models import open_model
from pydantic import SecretStr, ValidationError

from tests.unit.model.fake_chat_model import FakeChatModel

KEYS = {"openai": SecretStr("sk-openai"), "anthropic": SecretStr("sk-anthropic")}
NAMES = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROQ_API_KEY")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def settings(name: str, **others: Any) -> ModelSettings:
    return ModelSettings.model_validate({"model": name, **others})


def opened(model: ModelSettings, **keys: str) -> Any:
    provider: Any = open_model("default", model, {name: SecretStr(key) for name, key in keys.items()})
    return provider._chat


def refusal(model: ModelSettings) -> str:
    with pytest.raises(BadSetting) as refused:
        open_model("fast", model, {})
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_retries_are_disabled() -> None:
    """They belong to the remote node alone."""
    from langchain_openai import ChatOpenAI  # here, since it takes a second

    model = opened(settings("openai:gpt-5"), openai="sk")
    assert isinstance(model, ChatOpenAI)
    assert (model.max_retries, model.model_name) == (0, "gpt-5")


def test_alias_has_its_own_key_before_that_of_its_vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-variable")
    model = settings("openai:gpt-5")
    keys = [
        opened(model, **given).openai_api_key.get_secret_value()
        for given in ({}, {"openai": "sk-vendor"}, {"openai": "sk-vendor", "default": "sk-alias"})
    ]
    assert keys == ["sk-variable", "sk-vendor", "sk-alias"]


def test_key_of_a_vendor_is_not_sent_to_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-variable")
    model = settings("openai:llama3.2", base_url="http://127.0.0.1:11434/v1")
    assert opened(model, openai="sk-vendor").openai_api_key.get_secret_value() == "none"
    assert opened(model, openai="sk-vendor", default="sk-own").openai_api_key.get_secret_value() == "sk-own"


def test_missing_package_and_key_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_openai", None)
    monkeypatch.setitem(sys.modules, "langchain.chat_models", SimpleNamespace(init_chat_model=without_package))
    assert refusal(settings("openai:gpt-5")) == (
        "GRAPHMESH_MODEL_MODELS: fast is openai:gpt-5, which needs the package langchain-openai "
        "(`make env EXTRAS=openai`, or graphmesh-model[openai]) and a key (OPENAI_API_KEY, or "
        'GRAPHMESH_MODEL_API_KEYS=\'{"openai": "…"}\')'
    )


def without_package(name: str, *, model_provider: str, **_: Any) -> FakeChatModel:
    raise ImportError(f"Initializing it requires the langchain-{model_provider} package. Please install it")


def test_package_without_an_extra_is_named() -> None:
    assert "the package langchain-groq in the environment of the model service and a key (GROQ_API_KEY" in refusal(
        settings("groq:llama")
    )


@pytest.mark.parametrize("name", ["openai:gpt-5", "anthropic:claude-x"])
def test_missing_key_is_named(name: str) -> None:
    variable = f"{name.partition(':')[0].upper()}_API_KEY"
    assert f"which needs a key ({variable}, or" in refusal(settings(name))


@pytest.mark.parametrize(
    ("name", "parameters", "rule"),
    [
        ("openai:gpt-5", {"reasoning": {}, "nonsense": 3}, "has no parameter nonsense"),
        ("anthropic:claude-x", {"nonsense": 3}, "has no parameter nonsense"),
        ("openai:gpt-5", {"reasoning_effort": 3}, "cannot be opened"),
        ("acme:large", {}, "cannot be opened"),
    ],
)
def test_what_no_class_has_is_refused(name: str, parameters: dict[str, Any], rule: str) -> None:
    with pytest.raises(BadSetting, match=rule) as refused:
        open_model("fast", settings(name, parameters=parameters), KEYS)
    assert "sk-" not in str(refused.value)


@pytest.mark.parametrize("name", ["api_key", "openai_api_key", "aws_secret", "max_retries", "base_url"])
def test_parameters_hold_no_secret_and_no_setting(name: str) -> None:
    with pytest.raises(ValidationError, match=f"parameters has {name}: "):
        settings("openai:gpt-5", parameters={name: "x"})
