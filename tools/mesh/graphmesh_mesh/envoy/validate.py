"""Envoy's own judgement of rendered files."""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from graphmesh_mesh.envoy.binary import validate_command
from graphmesh_mesh.envoy.documents import CDS, LDS, Document
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.envoy.render import BOOTSTRAP, encode


class EnvoyRefusal(ValueError):
    """Envoy refuses the configuration; the message is its own."""


def validate(files: Mapping[str, bytes]) -> None:
    """Ask Envoy about the files, without starting it.

    `--mode validate` does not open what xDS delivers, so it gets one static configuration of the same parts.

    Raises:
        EnvoyRefusal: it would not start on them, or would refuse an update to them.
    """
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch), {**files, BOOTSTRAP: encode(static(files))})
        judged = subprocess.run(validate_command(), cwd=scratch, capture_output=True, text=True, check=False)
    if judged.returncode:
        raise EnvoyRefusal(judged.stderr.strip())


def static(files: Mapping[str, bytes]) -> Document:
    """The same configuration in one static document."""
    bootstrap = {key: part for key, part in yaml.safe_load(files[BOOTSTRAP]).items() if key != "dynamic_resources"}
    clusters, listeners = _resources(files[CDS]), _resources(files[LDS])
    for listener in listeners:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        routes = manager.pop("rds")["config_source"]["path_config_source"]["path"]
        manager["route_config"] = _resources(files[routes])[0]
    return {**bootstrap, "static_resources": {"clusters": clusters, "listeners": listeners}}


def _resources(content: bytes) -> list[dict[str, Any]]:
    """The resources, without the type that only xDS needs."""
    return [{key: part for key, part in one.items() if key != "@type"} for one in yaml.safe_load(content)["resources"]]
