"""The keys of call tokens on one machine: orchestrators sign with the private one, services know the public ones."""

import json
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from graphmesh_chassis.call_keys import jwk_of

PRIVATE, PUBLIC = "call-key.pem", "call-keys.json"
KEPT = 1
"""Keys that services still know beside a new one: tokens of the key before it are valid for a minute."""


def open_call_keys(folder: Path) -> None:
    """Make the keys in a folder where there are none."""
    if not (folder / PRIVATE).exists():
        replace_call_key(folder)


def replace_call_key(folder: Path) -> None:
    """Make a new key in a folder. Servers read both files again: first services know it, then orchestrators sign."""
    key = ec.generate_private_key(ec.SECP256R1())
    keys = [jwk_of(key.public_key()), *_known(folder)[:KEPT]]
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(folder / PUBLIC, json.dumps({"keys": keys}, indent=1).encode(), 0o644)
    _write(folder / PRIVATE, pem, 0o600)


def _known(folder: Path) -> list[dict[str, str]]:
    """Return the public keys of a folder, the newest first."""
    file = folder / PUBLIC
    return list(json.loads(file.read_bytes())["keys"]) if file.exists() else []


def _write(file: Path, content: bytes, mode: int) -> None:
    """Replace a file as a whole: no reader sees a part of it."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as target:
        target.write(content)
    new.replace(file)
