"""The settings of the model service."""

import json
from pathlib import Path

import pytest
from graphmesh_chassis.settings import BadSetting
from graphmesh_model.settings import Settings
from pydantic import ValidationError


def test_default_model_is_offline() -> None:
    assert {alias: model.model for alias, model in Settings().models.items()} == {"default": "offline"}


def test_models_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {
        "default": {
            "model": "openai:gpt-5",
            "fallbacks": ["demo"],
            "price": {"input_micro_usd": 1, "output_micro_usd": 2},
        },
        "demo": {"model": "offline"},
    }
    monkeypatch.setenv("GRAPHMESH_MODEL_MODELS", json.dumps(models))
    default = Settings().models["default"]
    assert (default.vendor, default.fallbacks) == ("openai", ("demo",))


def test_api_keys_are_hidden_when_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In repr, dict and JSON of the settings."""
    monkeypatch.setenv("GRAPHMESH_MODEL_API_KEYS", '{"openai": "sk-secret"}')
    settings = Settings()
    assert settings.api_keys["openai"].get_secret_value() == "sk-secret"
    assert "secret" not in f"{settings!r}{settings.model_dump()}{settings.model_dump_json()}"


def test_validation_errors_do_not_contain_api_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors are printed when the service refuses to start."""
    monkeypatch.setenv("GRAPHMESH_MODEL_API_KEYS", '{"openai": "sk-secret"}')
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"models": {"fast": {"model": "offline"}}, "api_keys": {"openai": "sk-secret"}})
    assert "secret" not in str(refused.value)


def test_keys_are_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-file\n")
    settings = Settings.model_validate({"api_key_files": {"openai": tmp_path / "key"}})
    assert settings.keys()["openai"].get_secret_value() == "sk-file"
    missing = Settings.model_validate({"api_key_files": {"openai": tmp_path / "missing"}})
    with pytest.raises(BadSetting, match=r"GRAPHMESH_MODEL_API_KEY_FILES: .*missing: No such file"):
        missing.keys()


@pytest.mark.parametrize(
    "models",
    [
        {"fast": {"model": "offline"}},
        {"default": {"model": "offline", "fallbacks": ["unknown"]}},
        {"default": {"model": "gpt-5"}},
        {"default": {"model": "offline", "prise": None}},
    ],
)
def test_inconsistent_settings_are_rejected(models: dict[str, object]) -> None:
    """No default, an unknown fallback, a model without a vendor, a misspelt name."""
    with pytest.raises(ValidationError):
        Settings.model_validate({"models": models})
