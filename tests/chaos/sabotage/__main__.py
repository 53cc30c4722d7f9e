"""A sabotaged server: `python -m tests.chaos.sabotage SABOTAGE PACKAGE ARGUMENT...`.

For a fork server, whose children do not import sitecustomize.
"""

import sys
from importlib import import_module


def main() -> None:
    """Patch this process, and run the package in it."""
    _, sabotage, package, *arguments = sys.argv
    sys.orig_argv[:] = sys.argv[:] = [package, *arguments]
    import_module(f"tests.chaos.sabotage.{sabotage}.sitecustomize")
    import_module(f"{package}.__main__").main()
