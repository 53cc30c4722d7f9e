"""Static analysis: the errors of the mesh that a function can raise, found by following its calls.

    analysis = Analysis(["graphmesh_billing"], opaque={"graphmesh_chassis.database"})
    analysis.errors(BillingServicer.Charge, BillingServicer)  # {NotFound, RuleViolated}

Bodies are read as syntax trees. Names resolve in the imported modules, so moving a module does not affect the analysis.
Types come from annotations (parameters, results, fields, class attributes) and from the assignments of `__init__`.
A call on a protocol is a call on every class that implements it, and a call on a class may reach its subclasses.

It overestimates: an error that is constructed counts as raised, and a function that is mentioned counts as called.
Errors that an `except` clause or `contextlib.suppress` catches are subtracted. Errors of a separate task
(`create_task`) or of a future's callback do not reach the caller, so these are not followed. Values without annotated
types are not followed, and neither is third-party code, except for the methods in `calls_back`.
"""

import inspect
import sys
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tests.contract.contracts.error_analysis.body import Body
from tests.contract.contracts.error_analysis.parts import Errors, Part, calls_of
from tests.contract.contracts.error_analysis.source import classes_of, import_all, node_of
from tests.contract.contracts.error_analysis.values import ROOTS, Method, Values, evaluated, of_hint


class Analysis:
    """An analysis over some packages.

    Args:
        packages: all their modules are imported. Implementations of protocols and subclasses are searched in them.
        opaque: modules whose functions are not followed.
        calls_back: third-party code that calls ours: by the name of a method that is called on an object of a
            third-party class, the base class and the names of the methods of its implementations that this may call.
    """

    def __init__(
        self,
        packages: Collection[str],
        opaque: Collection[str] = (),
        calls_back: Mapping[str, tuple[type, Sequence[str]]] = types.MappingProxyType({}),
    ) -> None:
        for package in packages:
            import_all(package)
        self._opaque, self.calls_back = frozenset(opaque), calls_back
        self._parts: dict[Method, Part] = {}
        self._known: dict[Method, Errors] = {}
        self._fields: dict[type, dict[str, Values]] = {}
        self._classes = list(classes_of(packages))
        self._implementations: dict[type, list[type]] = {}

    def errors(self, function: Any, receiver: type | None = None) -> Errors:
        """The errors that leave `function`, called on an instance of `receiver`."""
        start = Method(inspect.unwrap(function), receiver)
        self._read(start)
        self._solve()
        return self._known[start]

    def reasons(self, function: Any, receiver: type | None = None) -> frozenset[str]:
        """The reasons of `errors`. Base classes have none and are left out."""
        return frozenset(error.reason for error in self.errors(function, receiver) if error.reason)

    def _read(self, start: Method) -> None:
        """Read a function, and those that it calls."""
        todo = [start]
        while todo:
            method = todo.pop()
            if method not in self._parts:
                self._parts[method] = Body(self, method).read()
                todo += calls_of(self._parts[method])

    def _solve(self) -> None:
        """Compute the errors of all functions, as the least fixed point: functions may call each other."""
        changed = True
        while changed:
            changed = False
            for method, part in self._parts.items():
                if (found := part.escape(self._known)) != self._known.get(method):
                    self._known[method], changed = found, True

    def follows(self, function: Any) -> bool:
        module = getattr(function, "__module__", None) or ""
        return module.startswith(ROOTS) and module not in self._opaque

    def implementations(self, kind: type) -> Sequence[type]:
        """The classes whose methods a call on `kind` may reach: itself with its subclasses, or with its implementations
        if it is a protocol."""
        if kind not in self._implementations:
            is_protocol = getattr(kind, "_is_protocol", False)
            test = implements if is_protocol else issubclass
            found = [] if typing.is_typeddict(kind) else [one for one in self._classes if test(one, kind)]
            self._implementations[kind] = [kind, *(one for one in found if one is not kind)]
        return self._implementations[kind]

    def fields(self, kind: type) -> dict[str, Values]:
        """The attributes of a class's instances: those that it annotates, and those that `__init__` assigns."""
        if kind not in self._fields:
            self._fields[kind] = found = {}
            for base in reversed(kind.__mro__):
                if not base.__module__.startswith(ROOTS):
                    continue
                module = vars(sys.modules[base.__module__])
                for name, hint in vars(base).get("__annotations__", {}).items():
                    found[name] = of_hint(evaluated(hint, module))
                if inspect.isfunction(init := vars(base).get("__init__")) and node_of(init):
                    body = Body(self, Method(init, kind))
                    body.read()
                    found |= body.assigned
        return self._fields[kind]


def implements(kind: type, protocol: type) -> bool:
    """Whether a class has every method of a protocol, with the same number of parameters. Properties are not compared:
    `__init__` may assign them."""
    members = {
        name: value for base in protocol.__mro__ for name, value in vars(base).items() if _is_method(name, value)
    }
    return bool(members) and all(_takes(getattr(kind, name, None), value) for name, value in members.items())


def _is_method(name: str, value: Any) -> bool:
    return not name.startswith("_") and inspect.isfunction(value)


def _takes(function: Any, declared: Any) -> bool:
    """Whether a function can be called as the declared one."""
    if not inspect.isfunction(function):
        return False
    parameters = inspect.signature(function).parameters.values()
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    return len(required) <= len(inspect.signature(declared).parameters) <= len(parameters)
