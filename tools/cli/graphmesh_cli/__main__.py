"""Entry point of `graphmesh`, also as `python -m graphmesh_cli`."""

from graphmesh_cli.app import app


def main() -> None:
    app(prog_name="graphmesh")


if __name__ == "__main__":
    main()
