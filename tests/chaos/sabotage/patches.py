"""Replaces names of the product in the process of a sabotaged server."""

import pkgutil
import sys
from collections.abc import Callable, Mapping
from typing import Any

Patches = Mapping[str, Callable[[Any], Any]]
"""The makers of replacements by target, as in `package.module.name`. A maker gets the original."""


def apply(package: str, patches: Patches) -> None:
    """Patch the targets, if this process is to run `package`.

    Raises:
        AttributeError: a target does not exist.
    """
    if package in sys.orig_argv:
        for target, make_replacement in patches.items():
            owner, name = owner_of(target)
            setattr(owner, name, make_replacement(getattr(owner, name)))


def owner_of(target: str) -> tuple[Any, str]:
    """The module or class that a target belongs to, and its name in there."""
    owner, _, name = target.rpartition(".")
    return pkgutil.resolve_name(owner), name
