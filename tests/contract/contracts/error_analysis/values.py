"""The values that an expression may have: instances of types, classes, modules, functions."""

import collections.abc
import contextlib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Values = frozenset["Of | Ref | Method"]
"""The possible values of an expression; empty where not known."""

ROOTS = ("graphmesh_",)
"""The prefixes of this repository's packages."""

ITERATES = (
    *(list, set, frozenset, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Iterator),
    *(collections.abc.Collection, collections.abc.AsyncIterator, collections.abc.AsyncIterable, collections.abc.Set),
    *(collections.abc.Generator, collections.abc.AsyncGenerator, contextlib.AbstractContextManager),
    *(contextlib.AbstractAsyncContextManager, collections.abc.Awaitable, collections.abc.Coroutine),
)
"""Generic types whose first parameter is what they yield, contain, enter or return."""

MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


@dataclass(frozen=True)
class Of:
    """An instance of a type: a class, or a generic alias of one."""

    type: Any


@dataclass(frozen=True)
class Ref:
    """An object that a module or a class holds: a class, a module, a function."""

    object: Any


@dataclass(frozen=True)
class Method:
    """A function of this repository, and the type of its `self` or `cls`; None for a plain function."""

    function: Any
    receiver: Any = None


def of_hint(hint: Any) -> Values:
    """The values that an annotation allows: each member of a union; a type variable's bound."""
    if hint is None or hint is Any or hint is type(None):
        return frozenset()
    if isinstance(hint, typing.TypeVar):
        return of_hint(hint.__bound__)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return frozenset().union(*map(of_hint, typing.get_args(hint)))
    if origin in (typing.Annotated, typing.Final, typing.ClassVar):
        return of_hint(typing.get_args(hint)[0])
    if origin is type:
        return frozenset(
            Ref(value.type) for one in typing.get_args(hint) for value in of_hint(one) if hasattr(value, "type")
        )
    return frozenset({Of(hint)}) if isinstance(origin or hint, type) else frozenset()


def of_object(value: Any) -> Values:
    """The value of a name in a module."""
    if inspect.isroutine(value):
        function = inspect.unwrap(value)
        if inspect.isfunction(function) and function.__module__.startswith(ROOTS):
            return frozenset({Method(function)})
        return frozenset({Ref(function)})
    if isinstance(value, type | types.ModuleType) or isinstance(typing.get_origin(value), type):
        return frozenset({Ref(value)})
    return frozenset({Of(type(value))})


def elements(values: Values, *, of_map: bool = False) -> Values:
    """The values that iterating over a value, entering or awaiting it gives; for a mapping its keys or values."""
    found = set[Of | Ref | Method]()
    for value in values:
        kind = value.type if isinstance(value, Of) else None
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in MAPS:
            found |= of_hint(arguments[1 if of_map else 0])
        elif origin is tuple:
            found |= frozenset().union(*(of_hint(one) for one in arguments if one is not ...))
        elif origin in ITERATES:
            found |= of_hint(arguments[0])
    return frozenset(found)


def item_of(values: Values, number: int) -> Values:
    """The item of a tuple at an index; of another iterable, any item."""
    found = set[Of | Ref | Method]()
    for value in values:
        arguments = typing.get_args(value.type) if isinstance(value, Of) else ()
        if isinstance(value, Of) and typing.get_origin(value.type) is tuple and ... not in arguments:
            found |= of_hint(arguments[number]) if number < len(arguments) else frozenset()
        else:
            found |= elements(frozenset({value}))
    return frozenset(found)


@functools.cache
def hints_of(function: Any, receiver: Any = None) -> Mapping[str, Any]:
    """The annotations of a function; those that cannot be evaluated are left out."""
    function = inspect.unwrap(function)
    hints = {
        name: evaluated(hint, function.__globals__) for name, hint in getattr(function, "__annotations__", {}).items()
    }
    given = _arguments(receiver)
    return {name: _substitute(hint, given) for name, hint in hints.items()}


def evaluated(hint: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(hint, typing.ForwardRef):
        hint = hint.__forward_arg__
    if isinstance(hint, str):
        try:
            return evaluated(eval(hint, dict(names)), names)
        except Exception:
            return None
    if isinstance(hint, types.GenericAlias) and any(isinstance(one, str) for one in hint.__args__):
        return hint.__origin__[tuple(evaluated(one, names) for one in hint.__args__)]  # type: ignore[index]
    return hint


def _arguments(kind: Any) -> Mapping[Any, Any]:
    """The arguments of a generic alias by its type variables."""
    origin = typing.get_origin(kind)
    parameters = getattr(origin, "__parameters__", ())
    return dict(zip(parameters, typing.get_args(kind), strict=False))


def _substitute(hint: Any, given: Mapping[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return given.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if not given or not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(given.get(one, one) for one in parameters)]


def substituted(values: Values, kind: Any) -> Values:
    given = _arguments(kind)
    return frozenset(Of(_substitute(value.type, given)) if isinstance(value, Of) else value for value in values)


def bound(static: Any, receiver: Any) -> Values:
    """A class's attribute, accessed through its instance."""
    if isinstance(static, classmethod | staticmethod):
        static = static.__func__
    if inspect.isfunction(static):
        return frozenset({Method(inspect.unwrap(static), receiver)})
    return of_object(static) if static is not None else frozenset()


def of_container(kind: Any, name: str) -> Values:
    """A method of a mapping, as a callable with its return type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in MAPS and name in ("get", "pop", "setdefault"):
        return frozenset({Of(Callable[..., arguments[1]])})
    if origin in MAPS and name == "values":
        return frozenset({Of(Callable[..., list[arguments[1]]])})  # type: ignore[valid-type]
    if origin in MAPS and name == "items":
        return frozenset({Of(Callable[..., list[tuple[arguments]]])})  # type: ignore[valid-type]
    return frozenset()


def of_third_party(plain: type, kind: Any, name: str) -> Values:
    """A method of a third-party class, as a callable with its return type."""
    static = inspect.getattr_static(plain, name, None)
    returned = hints_of(static).get("return") if inspect.isfunction(static) else None
    returned = kind if returned is typing.Self else returned
    return frozenset({Of(Callable[..., returned])}) if of_hint(returned) else frozenset()


def class_of(kind: Any) -> type:
    found = typing.get_origin(kind) or kind
    return found if isinstance(found, type) else object
