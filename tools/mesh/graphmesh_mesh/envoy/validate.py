"""Validation of rendered files by Envoy itself."""

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
    """Envoy rejects the configuration; the message is Envoy's."""


def validate(files: Mapping[str, bytes]) -> None:
    """Validate the files with `envoy --mode validate`.

    That mode does not load the files of xDS, so it gets one static configuration of the same resources.

    Raises:
        EnvoyRefusal: Envoy would not start with them, or would reject them as an update.
    """
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch), {**files, BOOTSTRAP: encode(static(files))})
        result = subprocess.run(validate_command(), cwd=scratch, capture_output=True, text=True, check=False)
    if result.returncode:
        raise EnvoyRefusal(result.stderr.strip())


def static(files: Mapping[str, bytes]) -> Document:
    """Return the same configuration as one static document."""
    bootstrap = {key: part for key, part in yaml.safe_load(files[BOOTSTRAP]).items() if key != "dynamic_resources"}
    clusters, listeners = _resources(files[CDS]), _resources(files[LDS])
    for listener in listeners:
        manager = listener["filter_chains"][0]["filters"][-1]["typed_config"]  # of all chains, an alias in YAML
        manager["http_filters"] = [_discovered(one, files) for one in manager["http_filters"]]
        routes = manager.pop("rds")["config_source"]["path_config_source"]["path"]
        manager["route_config"] = _resources(files[routes])[0]
    return {**bootstrap, "static_resources": {"clusters": clusters, "listeners": listeners}}


def _discovered(filter: Document, files: Mapping[str, bytes]) -> Document:
    """Return a filter with its configuration, which it may have in a file of its own."""
    if "config_discovery" not in filter:
        return filter
    path = filter["config_discovery"]["config_source"]["path_config_source"]["path"]
    (config,) = _resources(files[path])
    return config


def _resources(content: bytes) -> list[dict[str, Any]]:
    """Return the resources of an xDS file without their type, which a static configuration must not have."""
    return [{key: part for key, part in one.items() if key != "@type"} for one in yaml.safe_load(content)["resources"]]
