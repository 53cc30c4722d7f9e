"""The process that attacks a mesh: `python -m graphmesh_chaos.attacker`, controlled by its standard input."""

import asyncio
import sys
from pathlib import Path

from graphmesh_local.state_folder import StateFolder
from graphmesh_mesh.service import Listener

from graphmesh_chaos.attack_target import Target
from graphmesh_chaos.attacks import ATTACKS

BEGUN = b"attacking\n"


def main() -> None:
    """Attack until standard input ends: the edge, a host for webhooks, the state folder, a run, and a graph's name."""
    edge, receiver, folder, run_id, graph = sys.argv[1:]
    target = Target(_listener(edge), StateFolder(Path(folder)), _listener(receiver), run_id, graph)
    asyncio.run(_obey(target))


async def _obey(target: Target) -> None:
    """A line with the name of an attack begins it; the next line ends it, and gets what was sent."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while name := (await lines.readline()).decode().strip():
        target.sent = 0
        attack = asyncio.ensure_future(ATTACKS[name](target))
        _reply(BEGUN)
        await lines.readline()
        if not attack.cancel():
            attack.result()  # raises: no attack ends by itself
        await asyncio.wait([attack])
        _reply(b"%d\n" % target.sent)


def _reply(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _listener(address: str) -> Listener:
    host, _, port = address.rpartition(":")
    return Listener(address=host, port=int(port))


if __name__ == "__main__":
    main()
