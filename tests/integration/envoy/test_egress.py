"""A workload reaches the hosts of its list in mesh.yaml, at addresses that it may have, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphmesh_mesh.envoy.clusters import DEFAULT_SETTINGS
from graphmesh_mesh.envoy.egress import ADDRESS_HEADER
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.envoy.limits import DEFAULT_LIMITS, Limits
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.topology import Mesh

from tests.integration.envoy.egress_harness import Names, Site, egress_mesh, request
from tests.integration.envoy.envoy_harness import EnvoyHarness, eventually, running_envoy

WAYS = ("GET", "CONNECT")
SPOOFED = f"{ADDRESS_HEADER}: 8.8.8.8:53\r\n{ADDRESS_HEADER.title()}: 127.0.0.2:80\r\n"
"""The header by which Envoy's filters state the address to each other."""
ALLOWED, SECRET = "127.0.0.2", "127.0.0.3"
"""Two addresses of this machine: one that the workload may have, and one with something that is to be out of reach."""


@dataclass
class Outside:
    """An Envoy with the way out of two workloads, `model` and `orchestrator`, and the hosts outside."""

    envoy: EnvoyHarness
    names: Names
    site: Site
    """At the allowed address."""
    secret: Site
    """At the other one, with the same port."""

    def port(self, workload: str = "model") -> int:
        return self.envoy.mesh.egress_listeners[workload].port

    def proxy(self, workload: str = "model") -> str:
        return f"http://127.0.0.1:{self.port(workload)}"

    async def status(self, target: str, method: str = "GET", workload: str = "model") -> int:
        return (await request(self.port(workload), target, method)).status

    async def until_reached(self, target: str, workload: str = "model") -> None:
        """Wait until Envoy has resolved a name: it does not wait for DNS when it starts."""

        async def is_reached() -> bool:
            return await self.status(target, workload=workload) == 200

        await eventually(is_reached)


def the_mesh(names: Names, port: int, site: int) -> Mesh:
    listed = [f"ok.test:{port}", f"inner.test:{port}", f"both.test:{port}", f"moving.test:{port}", f"Case.Test:{port}"]
    model = [*listed, f"127.0.0.1:{site}", f"*.wild.test:{port}", "absent.test"]
    return egress_mesh(
        names,
        model={"hosts": model, "private": [ALLOWED]},
        orchestrator={"hosts": [f"hooks.test:{port}"], "private": [f"{ALLOWED}/32"]},
    )


@asynccontextmanager
async def outside(folder: Path, limits: Limits = DEFAULT_LIMITS) -> AsyncIterator[Outside]:
    names = Names(
        {
            **dict.fromkeys(("ok.test", "case.test", "moving.test", "hooks.test", "unlisted.test"), (ALLOWED,)),
            **dict.fromkeys(("inner.test", "a.wild.test"), (SECRET,)),
            "both.test": [ALLOWED, SECRET],
        }
    )
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(Site(ALLOWED).serving())
        secret = await stack.enter_async_context(Site(SECRET, site.port).serving())
        loopback = await stack.enter_async_context(Site().serving())
        await stack.enter_async_context(names.serving())
        mesh = the_mesh(names, site.port, loopback.port)
        envoy = await stack.enter_async_context(
            running_envoy(mesh, folder, settings=replace(DEFAULT_SETTINGS, limits=limits))
        )
        found = Outside(envoy, names, site, secret)
        await found.until_reached(f"ok.test:{site.port}")
        yield found


async def test_hosts_of_the_list_are_reached_and_no_others(tmp_path: Path) -> None:
    async with outside(tmp_path) as there:
        port = there.site.port
        loopback = next(host.authority for host in hosts(there) if host.address)
        for method in WAYS:
            for target in (f"ok.test:{port}", f"OK.TEST:{port}", f"case.test:{port}", loopback):
                assert await there.status(target, method) == 200, (target, method)
            refused = (
                f"unlisted.test:{port}",
                f"hooks.test:{port}",  # of the other workload
                f"ok.test:{port + 1}",
                f"ok.test.:{port}",
                f"sub.ok.test:{port}",
                f"wild.test:{port}",
                f"127.0.0.2:{port}",
                f"[::1]:{port}",
                f"[::ffff:127.0.0.2]:{port}",
                f"2130706434:{port}",
                f"0x7f.2:{port}",
                f"127.2:{port}",
                f"localhost:{port}",
                f"127.0.0.1:{there.envoy.mesh.admin.port}",
                "169.254.169.254:80",
            )
            for target in refused:
                assert await there.status(target, method) == 403, (target, method)
            assert await there.status(f"hooks.test:{port}", method, "orchestrator") == 200
            assert await there.status(f"ok.test:{port}", method, "orchestrator") == 403
            assert await there.status("absent.test:443", method) == 503
        answer = await request(there.port(), f"unlisted.test:{port}")
        assert json.loads(answer.body) == {
            "code": 7,
            "message": f"model may not call unlisted.test:{port}: add it to egress.workloads.model.hosts in mesh.yaml",
            "details": [error_info(workload="model", host=f"unlisted.test:{port}")],
        }


async def test_an_address_is_checked_when_it_is_used(tmp_path: Path) -> None:
    """Also of a name with several, and of one that moves: no byte is sent to the private one."""
    async with outside(tmp_path) as there:
        port = there.site.port
        await there.until_reached(f"both.test:{port}")
        for method in WAYS:
            for target in (f"inner.test:{port}", f"a.wild.test:{port}", f"A.Wild.test:{port}"):
                assert (await request(there.port(), target, method, b"early bytes", SPOOFED)).status == 421, target
            assert {await there.status(f"both.test:{port}", method) for _ in range(12)} == {200, 421}
        await there.until_reached(f"moving.test:{port}")
        there.names.addresses["moving.test"] = [SECRET]

        async def is_refused() -> bool:
            return await there.status(f"moving.test:{port}", "CONNECT") == 421

        await eventually(is_refused)
        answer = await request(there.port(), f"inner.test:{port}")
        assert there.secret.received == b""
        assert json.loads(answer.body)["message"] == (
            f"The host resolves to the private address {SECRET}: "
            "list it in egress.workloads.model.private of mesh.yaml if that is intended"
        )
        assert json.loads(answer.body)["details"] == [error_info(workload="model", address=SECRET)]


async def test_a_redirect_leads_to_no_other_host(tmp_path: Path) -> None:
    moved = b"HTTP/1.1 302 Found\r\nlocation: %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    async with outside(tmp_path) as there:
        async with httpx.AsyncClient(proxy=there.proxy(), follow_redirects=True, trust_env=False) as client:
            for target, status in ((f"http://unlisted.test:{there.site.port}/", 403), ("http://inner.test/", 403)):
                there.site.answer = moved % target.encode()
                assert (await client.get(f"http://ok.test:{there.site.port}/")).status_code == status
            there.site.answer = moved % f"http://inner.test:{there.site.port}/".encode()
            assert (await client.get(f"http://ok.test:{there.site.port}/")).status_code == 421
            there.site.answer = moved % b"https://169.254.169.254/latest/meta-data"
            with pytest.raises(httpx.ProxyError, match="403"):
                await client.get(f"http://ok.test:{there.site.port}/")
        assert there.secret.received == b""


async def test_an_edit_of_the_list_is_applied_to_the_running_envoy(tmp_path: Path) -> None:
    async with outside(tmp_path) as there:
        target = f"unlisted.test:{there.site.port}"
        assert await there.status(target) == 403
        plain = there.envoy.mesh.model_dump()
        model = plain["egress"]["workloads"]["model"]
        model["hosts"] = [target]
        write(there.envoy.folder, render(Mesh.model_validate(plain)))
        await there.until_reached(target)

        async def is_refused() -> bool:
            return await there.status(f"ok.test:{there.site.port}") == 403

        await eventually(is_refused)


CONNECTIONS = 20


async def test_the_calls_of_one_workload_are_not_noticed_by_another(tmp_path: Path) -> None:
    """It has as many connections as it may have, all of them silent."""
    few = replace(DEFAULT_LIMITS, egress=replace(DEFAULT_LIMITS.egress, connections=CONNECTIONS, silent_seconds=600))
    async with outside(tmp_path, few) as there, AsyncExitStack() as stack:
        target = f"hooks.test:{there.site.port}"
        await there.until_reached(target, "orchestrator")

        async def is_refused() -> bool:
            """Hold one more connection. Envoy accepts and closes connections later than this process."""
            _, writer = await asyncio.open_connection("127.0.0.1", there.port())
            stack.callback(writer.close)
            try:
                assert await there.status(target) == 403
            except (asyncio.IncompleteReadError, ConnectionError):
                return True
            return False

        await eventually(is_refused)
        for method in WAYS:
            assert await there.status(target, method, "orchestrator") == 200


async def test_refused_calls_are_not_noticed_by_others(tmp_path: Path) -> None:
    async with outside(tmp_path) as there:
        target = f"hooks.test:{there.site.port}"
        await there.until_reached(target, "orchestrator")
        flood = [there.status("unlisted.test:443", "CONNECT") for _ in range(300)]
        calls = [there.status(target, method, "orchestrator") for method in WAYS for _ in range(20)]
        assert await asyncio.gather(*flood, *calls) == [403] * 300 + [200] * 40


def hosts(there: Outside) -> Any:
    assert there.envoy.mesh.egress
    return there.envoy.mesh.egress.workloads["model"].parsed


def error_info(**metadata: str) -> dict[str, Any]:
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    return {"@type": kind, "reason": "EGRESS_REFUSED", "domain": "graphmesh", "metadata": metadata}
