"""Idempotency of twins: outcomes by effect key, and the newest epoch of each run."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from graphmesh_chassis import metadata
from graphmesh_chassis.calls import serialized
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import CallerError, Fenced, IdempotencyKeyReused
from graphmesh_contracts import Method


@dataclass(frozen=True)
class Outcome:
    """A response, or the error of a refusal."""

    fingerprint: tuple[str, bytes]
    result: Message | CallerError


class EffectStore:
    """The outcomes of all effects, as the database of a service has them."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, EffectKey], Outcome] = {}
        self._epochs: dict[tuple[str, str], Epoch] = {}

    def find(self, rpc: Method[Any, Any], request: Message, headers: metadata.Metadata) -> Message | CallerError | None:
        """Return the stored outcome of an earlier call with the same key.

        Raises:
            IdempotencyKeyRequired: the call has no key.
            IdempotencyKeyReused: the earlier call was another one.
            Fenced: the run has been taken over by a later epoch.
        """
        key = EffectKey.of(headers)
        self._fence(headers)
        stored = self._outcomes.get((metadata.text(headers, metadata.TENANT), key))
        if stored is None:
            return None
        if stored.fingerprint != (rpc.path, serialized(request)):
            raise IdempotencyKeyReused(key=key)
        return stored.result

    def store(
        self, rpc: Method[Any, Any], request: Message, headers: metadata.Metadata, result: Message | CallerError
    ) -> None:
        key = (metadata.text(headers, metadata.TENANT), EffectKey.of(headers))
        self._outcomes[key] = Outcome((rpc.path, serialized(request)), result)

    def _fence(self, headers: metadata.Metadata) -> None:
        epoch = Epoch.of(headers)
        if epoch is None:
            return
        run = (metadata.text(headers, metadata.TENANT), metadata.text(headers, metadata.RUN))
        if epoch < self._epochs.get(run, epoch):
            raise Fenced(run=run[1], epoch=epoch)
        self._epochs[run] = epoch
