"""Effect keys, epochs and callers as values: read from metadata, and plain strings and integers to everything else."""

import copy
import json
import pickle

import pytest
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import IdempotencyKeyRequired, InvalidMetadata
from graphmesh_chassis.identity import Caller

RUN = {"x-graphmesh-run": "run_1"}


def test_effect_key_is_read_from_its_header() -> None:
    key = EffectKey.of({"idempotency-key": "k" * 255})
    assert type(key) is EffectKey
    assert key == "k" * 255


def test_effect_key_is_required() -> None:
    with pytest.raises(IdempotencyKeyRequired):
        EffectKey.of({})


def test_effect_key_of_more_than_255_characters_is_refused() -> None:
    with pytest.raises(InvalidMetadata, match="idempotency-key"):
        EffectKey.of({"idempotency-key": "k" * 256})


@pytest.mark.parametrize("header", ["x-graphmesh-subject", "x-graphmesh-client"])
def test_subject_or_client_of_more_than_255_characters_is_refused(header: str) -> None:
    """No database has a place for it."""
    assert Caller.of({header: "n" * 255}, "open").tenant == "default"
    with pytest.raises(InvalidMetadata, match=header):
        Caller.of({header: "n" * 256}, "open")


def test_epoch_is_read_from_its_header() -> None:
    epoch = Epoch.of({"x-graphmesh-epoch": "9" * 18, **RUN})
    assert type(epoch) is Epoch
    assert epoch == int("9" * 18)


def test_call_outside_of_runs_has_no_epoch() -> None:
    assert Epoch.of({}) is None


@pytest.mark.parametrize("text", ["one", "-1", "1.0", "٣", " 1", "9" * 19])
def test_malformed_epoch_is_refused(text: str) -> None:
    with pytest.raises(InvalidMetadata, match="x-graphmesh-epoch"):
        Epoch.of({"x-graphmesh-epoch": text, **RUN})


def test_epoch_without_its_run_is_refused() -> None:
    with pytest.raises(InvalidMetadata, match="x-graphmesh-epoch"):
        Epoch.of({"x-graphmesh-epoch": "1"})


def test_next_epoch_is_one_higher() -> None:
    following = Epoch(2).next()
    assert type(following) is Epoch
    assert following == 3


@pytest.mark.parametrize(("value", "plain"), [(EffectKey("k"), "k"), (Epoch(3), 3)])
def test_values_are_stored_and_copied_as_what_they_extend(value: EffectKey | Epoch, plain: str | int) -> None:
    assert json.dumps({"value": value}) == json.dumps({"value": plain})
    assert f"{value}" == str(plain)
    for copied in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert (type(copied), copied) == (type(value), value)
