"""A server calls out of the mesh through the proxy of its settings, and recognizes the proxy's refusals."""

import os
from typing import Any

import httpx
import pytest
from graphmesh_chassis import serve
from graphmesh_chassis.egress import REPLACED, VARIABLES, Refusal, refusal
from graphmesh_chassis.settings import ServerSettings
from graphmesh_contracts.egress import REFUSAL_HEADER
from pydantic import ValidationError

PROXY = "http://127.0.0.1:8083"


def a_request(url: str) -> httpx.Request:
    return httpx.Request("POST", url)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def answered(status: int, **headers: str) -> httpx.HTTPStatusError:
    request = a_request("http://hooks.example:8000/")
    response = httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return httpx.HTTPStatusError("refused", request=request, response=response)


def test_the_proxy_of_the_settings_replaces_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*REPLACED, *VARIABLES, "ALL_PROXY", "NO_PROXY"):
        monkeypatch.setenv(name, "http://proxy.invalid")
    monkeypatch.setattr("sys.argv", ["server", "--egress", PROXY])
    seen = dict[str, str]()

    async def serving(*_: Any) -> None:
        seen.update(os.environ)

    monkeypatch.setattr(serve, "_serve_until_signal", serving)
    for name in ("configure_logs", "os.umask"):  # they are the process'
        monkeypatch.setattr(f"graphmesh_chassis.serve.{name}", lambda *_: None)
    serve.run("server", None, ServerSettings)  # type: ignore[arg-type]  # nothing is built
    assert {name: value for name, value in seen.items() if name.lower() in REPLACED} == dict.fromkeys(VARIABLES, PROXY)


@pytest.mark.parametrize(
    "value", ["127.0.0.1:8083", "https://127.0.0.1:8083", "http://me:secret@127.0.0.1", "http:// "]
)
def test_what_is_no_proxy_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        ServerSettings(egress=value)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (
            httpx.ProxyError("403 Forbidden", request=a_request("https://api.example/v1")),
            Refusal("api.example:443", is_address=False),
        ),
        (
            httpx.ProxyError("421 Misdirected Request", request=a_request("https://api.example:8443/")),
            Refusal("api.example:8443", is_address=True),
        ),
        (httpx.ProxyError("403 Forbidden"), Refusal("", is_address=False)),
        (
            caused(
                RuntimeError("of a vendor's package"), httpx.ProxyError("403", request=a_request("https://a.example"))
            ),
            Refusal("a.example:443", is_address=False),
        ),
        (answered(403, **{REFUSAL_HEADER: "host"}), Refusal("hooks.example:8000", is_address=False)),
        (answered(421, **{REFUSAL_HEADER: "address"}), Refusal("hooks.example:8000", is_address=True)),
        (answered(403), None),
        (answered(403, **{REFUSAL_HEADER: "other"}), None),
        (httpx.ProxyError("503 Service Unavailable"), None),
        (httpx.ConnectError("403"), None),
    ],
)
def test_refusals_are_recognized(error: Exception, found: Refusal | None) -> None:
    assert refusal(error) == found


def test_an_error_that_is_its_own_cause_ends() -> None:
    first, second = RuntimeError(), RuntimeError()
    assert refusal(caused(first, caused(second, first))) is None
