"""Makes objects again of what LangGraph's serializer stores of them: the names of a class, and its arguments."""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from datetime import date, time
from enum import Enum
from operator import attrgetter
from typing import Any

from graphmesh_contracts.structs import printable
from langgraph.types import Send
from pydantic import RootModel

FROM_TEXT = "fromisoformat"
"""The method that LangGraph stores with dates and times; no other is called."""


class UnreadableObject(ValueError):
    """An object of a class that does not exist, or that refuses what is stored. The message has the class."""


def made(module: str, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], method: str | None = None) -> Any:
    """Return the object of a class, or the result of a function, with those arguments.

    Raises:
        UnreadableObject: there is no such class, or it raises an error.
    """
    cls = _found(module, name)
    try:
        if method == FROM_TEXT and issubclass(cls, (date, time)):
            return cls.fromisoformat(*args)
        if cls is Send:
            return Send(args[0], args[1], **({"timeout": args[2]} if len(args) > 2 else {}), **kwargs)
        if dataclasses.is_dataclass(cls) and kwargs and not args:
            return _dataclass(cls, kwargs)
        if args and isinstance(args[0], list) and issubclass(cls, Enum | set | frozenset):
            return cls(_tuple(args[0]))  # MessagePack has no tuples
        return cls(*args, **kwargs)
    except Exception as error:
        raise _refused(module, name, error) from error


def model(module: str, name: str, fields: Mapping[str, Any]) -> Any:
    """Return the pydantic model with those fields, by their names.

    One that its own validators refuse is made without them, as LangGraph does, if it has the fields of its class.

    Raises:
        UnreadableObject: there is no such class, or it has other fields.
    """
    cls = _found(module, name)
    if issubclass(cls, RootModel):
        fields = {"root": fields}
    try:
        return cls(**fields)
    except Exception as error:
        by_names = _by_names(cls, fields)
        if by_names is not None:
            return by_names
        if not _has_fields(cls, fields):
            raise _refused(module, name, error) from error
    construct = getattr(cls, "model_construct", None) or cls.construct
    return construct(**fields)


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def _found(module: str, name: str) -> Any:
    try:
        return attrgetter(name)(importlib.import_module(module))
    except ModuleNotFoundError as error:
        reason = f"there is no module {error.name}"
    except AttributeError:
        reason = f"the module has no {printable(name)} at its top level"
    except Exception as error:  # of the module's own code
        reason = f"the module cannot be imported: {type(error).__name__}"
    raise UnreadableObject(f"the class {_full_name(module, name)} cannot be read: {reason}")


def _refused(module: str, name: str, error: Exception) -> UnreadableObject:
    cause = " ".join(str(error).split())[:200]
    return UnreadableObject(
        f"the class {_full_name(module, name)} refuses its stored fields: {type(error).__name__}: {printable(cause)}"
    )


def _full_name(module: str, name: str) -> str:
    return printable(f"{module}.{name}")


def _dataclass(cls: Any, fields: Mapping[str, Any]) -> Any:
    """Fields that its `__init__` does not take are set afterwards."""
    set_later = {field.name for field in dataclasses.fields(cls) if not field.init} & fields.keys()
    instance = cls(**{name: value for name, value in fields.items() if name not in set_later})
    for name in set_later:
        object.__setattr__(instance, name, fields[name])
    return instance


def _by_names(cls: Any, fields: Mapping[str, Any]) -> Any:
    """Return the model of fields whose names differ from their aliases; None where it refuses them."""
    try:
        return cls.model_validate(dict(fields), by_alias=False, by_name=True)
    except Exception:
        return None


def _has_fields(cls: Any, fields: Mapping[str, Any]) -> bool:
    known: Mapping[str, Any] = getattr(cls, "model_fields", None) or getattr(cls, "__fields__", {})
    required = {name for name, field in known.items() if _is_required(field) and not getattr(field, "exclude", False)}
    return required <= fields.keys() <= known.keys() | getattr(cls, "model_computed_fields", {}).keys()


def _is_required(field: Any) -> bool:
    is_required = getattr(field, "is_required", None)
    return bool(is_required() if callable(is_required) else getattr(field, "required", False))
