"""Entry point of `graphmesh`, also as `python -m graphmesh_cli`."""

import sys
from io import TextIOWrapper

from graphmesh_cli.app import app


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # of characters that a terminal without UTF-8 does not have
    app(prog_name="graphmesh")


if __name__ == "__main__":
    main()
