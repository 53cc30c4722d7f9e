"""A program that imports the client loads nothing that only servers and graphs need."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEAVY = {
    "alembic",
    "httpx",
    "langchain_core",
    "langgraph",
    "opentelemetry",
    "protovalidate",
    "psycopg",
    "pydantic",
    "sqlalchemy",
    "structlog",
}


def modules_after(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    )


def test_client_imports_nothing_heavy() -> None:
    assert not modules_after("import graphmesh_client; graphmesh_client.Client('localhost:1')") & HEAVY


def test_remote_graph_is_there_where_langgraph_is() -> None:
    assert "langgraph" in modules_after("from graphmesh_client import RemoteGraph")


def test_remote_graph_without_langgraph_names_the_extra() -> None:
    program = "import sys; sys.modules['langgraph'] = None; sys.modules['langchain_core'] = None\n"
    program += "from graphmesh_client import RemoteGraph"
    failed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert failed.stderr.splitlines()[-1].endswith("install graphmesh-client[langgraph]")
