"""Reads the body of a function: infers the values of its expressions, and collects its calls and errors."""

import ast
import builtins
import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphmesh_chassis.errors import GraphmeshError

from tests.contract.contracts.error_analysis.parts import Handler, Part, Try
from tests.contract.contracts.error_analysis.source import node_of
from tests.contract.contracts.error_analysis.values import (
    ROOTS,
    Method,
    Of,
    Ref,
    Values,
    bound,
    class_of,
    elements,
    evaluated,
    hints_of,
    item_of,
    of_container,
    of_hint,
    of_object,
    of_third_party,
    substituted,
)

if TYPE_CHECKING:
    from tests.contract.contracts.error_analysis.analysis import Analysis

DETACHED = {"create_task", "ensure_future", "add_done_callback", "call_later", "call_soon", "add_signal_handler"}
"""Calls whose arguments run outside of the caller."""

SAME = {"aclosing", "closing", "sorted", "list", "tuple", "set", "reversed", "iter", "enumerate", "shield", "replace"}
"""Functions that return, for the purposes of types, their first argument."""

ELEMENT = {"next", "anext", "max", "min"}
"""Functions that return an element of their first argument."""


class Body:
    """Reads one function, statement by statement."""

    def __init__(self, analysis: "Analysis", method: Method) -> None:
        self._analysis, self._method = analysis, method
        function = method.function
        self._globals: Mapping[str, Any] = function.__globals__
        self._part = Part()
        self.assigned: dict[str, Values] = {}
        """The attributes of `self` that the body assigns."""
        self._local: dict[str, Values] = {
            name: frozenset({Of(type(value))}) for name, value in inspect.getclosurevars(function).nonlocals.items()
        }
        self._bound: dict[ast.Lambda, Sequence[Values]] = {}

    def read(self) -> Part:
        node = node_of(self._method.function)
        if node is not None:
            self._bind_parameters(node, self._method.function)
            self._block(node.body)
            for decorator in node.decorator_list:
                self._expression(decorator)
        return self._part

    def _bind_parameters(self, node: ast.FunctionDef | ast.AsyncFunctionDef, function: Any) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        hints = hints_of(function, self._method.receiver)
        for number, argument in enumerate(arguments):
            if number == 0 and self._method.receiver is not None and argument.arg in ("self", "cls"):
                kind = Of if argument.arg == "self" else Ref
                self._local[argument.arg] = frozenset({kind(self._method.receiver)})
            else:
                self._local[argument.arg] = of_hint(hints.get(argument.arg))

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Try() | ast.TryStar():
                self._try(node)
            case ast.With() | ast.AsyncWith():
                self._with(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._nested(node)
            case ast.For() | ast.AsyncFor():
                self._bind(node.target, elements(self._expression(node.iter)))
                self._block([*node.body, *node.orelse])
            case ast.Assign():
                value = self._expression(node.value)
                for target in node.targets:
                    self._assign(target, node.value, value)
            case ast.AnnAssign():
                if node.value is not None:
                    self._expression(node.value)
                self._bind(node.target, of_hint(self._hint(node.annotation)))
            case ast.Raise():
                self._raise(node)
            case _:
                self._children(node)

    def _children(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.expr():
                    self._expression(child)
                case ast.stmt():
                    self._statement(child)
                case ast.match_case():
                    if child.guard:
                        self._expression(child.guard)
                    self._block(child.body)
                case ast.keyword():
                    self._expression(child.value)

    def _nested(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Read a nested function as if it were called where it is defined."""
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            self._local[argument.arg] = of_hint(self._hint(argument.annotation))
        self._block(node.body)

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        body = self._apart(node.body)
        handlers = []
        for handler in node.handlers:
            kinds = self._kinds(handler.type)
            if handler.name:
                self._local[handler.name] = frozenset(Of(kind) for kind in kinds)
            handlers.append(Handler(kinds, self._apart(handler.body), reraises_caught(handler)))
        self._part.tries.append(Try(body, handlers))
        self._block([*node.orelse, *node.finalbody])

    def _apart(self, statements: Sequence[ast.stmt]) -> Part:
        outer, self._part = self._part, Part()
        self._block(statements)
        inner, self._part = self._part, outer
        return inner

    def _kinds(self, node: ast.expr | None) -> tuple[type[BaseException], ...]:
        """The classes that an `except` clause names."""
        if node is None:
            return (BaseException,)
        if isinstance(node, ast.Tuple):
            return tuple(kind for one in node.elts for kind in self._kinds(one))
        if isinstance(node, ast.BinOp):
            return (*self._kinds(node.left), *self._kinds(node.right))
        found = [value.object for value in self._expression(node) if isinstance(value, Ref)]
        return tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseException))

    def _raise(self, node: ast.Raise) -> None:
        for part in filter(None, (node.exc, node.cause)):
            for value in self._expression(part):
                if part is node.exc and isinstance(value, Ref):
                    self._construct(value.object)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        suppressed: list[type[BaseException]] = []
        for item in node.items:
            call = item.context_expr
            if isinstance(call, ast.Call) and last_name(call.func) == "suppress":
                suppressed += [kind for one in call.args for kind in self._kinds(one)]
                continue
            entered = self._entered(self._expression(call))
            if item.optional_vars is not None:
                self._bind(item.optional_vars, entered)
        if suppressed:
            self._part.tries.append(Try(self._apart(node.body), [Handler(tuple(suppressed), Part())]))
        else:
            self._block(node.body)

    def _entered(self, managers: Values) -> Values:
        """The values that `with … as` binds. The manager's own methods are called."""
        bound = set[Of | Ref | Method]()
        for value in managers:
            if not isinstance(value, Of) or not class_of(value.type).__module__.startswith(ROOTS):
                bound |= elements(frozenset({value}))
                continue
            for name in ("__enter__", "__aenter__", "__exit__", "__aexit__"):
                for method in self._attribute(value, name):
                    entered = self._called(method)
                    if "enter" in name:
                        bound |= entered or {value}
        return frozenset(bound)

    def _assign(self, target: ast.expr, node: ast.expr, value: Values) -> None:
        """Bind a target; a tuple of targets to a tuple of expressions one by one."""
        if isinstance(target, ast.Tuple) and isinstance(node, ast.Tuple) and len(target.elts) == len(node.elts):
            for one, part in zip(target.elts, node.elts, strict=True):
                self._assign(one, part, self._expression(part))
        else:
            self._bind(target, value)

    def _bind(self, target: ast.expr, value: Values) -> None:
        match target:
            case ast.Name():
                self._local[target.id] = value
            case ast.Attribute(value=ast.Name(id="self")):
                self.assigned[target.attr] = value
            case ast.Tuple() | ast.List():
                for number, one in enumerate(target.elts):
                    self._bind(one.value if isinstance(one, ast.Starred) else one, item_of(value, number))
            case ast.Starred():
                self._bind(target.value, value)

    def _expression(self, node: ast.expr) -> Values:
        match node:
            case ast.Name():
                return self._mentioned(self._name(node.id))
            case ast.Attribute():
                return self._mentioned(self._of_attribute(node))
            case ast.Call():
                return self._call(node)
            case ast.Await() | ast.Starred():
                return self._awaited(self._expression(node.value))
            case ast.NamedExpr():
                value = self._expression(node.value)
                self._bind(node.target, value)
                return value
            case ast.BoolOp():
                return frozenset().union(*map(self._expression, node.values))
            case ast.IfExp():
                self._expression(node.test)
                return self._expression(node.body) | self._expression(node.orelse)
            case ast.Subscript():
                self._expression(node.slice)
                return elements(self._expression(node.value), of_map=True)
            case ast.Tuple() | ast.List() | ast.Set():
                inside = frozenset().union(*map(self._expression, node.elts))
                return frozenset(Of(list[value.type]) for value in inside if isinstance(value, Of))  # type: ignore[name-defined]
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node)
            case ast.Lambda():
                self._lambda(node)
        self._children(node)
        return frozenset()

    def _awaited(self, value: Values) -> Values:
        waits = (collections.abc.Awaitable, collections.abc.Coroutine)
        plain = frozenset(one for one in value if not (isinstance(one, Of) and typing.get_origin(one.type) in waits))
        return plain | elements(value - plain)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Values:
        for generator in node.generators:
            self._bind(generator.target, elements(self._expression(generator.iter)))
            for condition in generator.ifs:
                self._expression(condition)
        if isinstance(node, ast.DictComp):
            self._expression(node.key)
            return frozenset(
                Of(dict[Any, value.type])  # type: ignore[name-defined]
                for value in self._expression(node.value)
                if isinstance(value, Of)
            )
        inside = self._expression(node.elt)
        return frozenset(Of(list[value.type]) for value in inside if isinstance(value, Of))  # type: ignore[name-defined]

    def _lambda(self, node: ast.Lambda) -> None:
        for number, argument in enumerate(node.args.args):
            given = self._bound.get(node, ())
            self._local[argument.arg] = given[number] if number < len(given) else frozenset()
        self._expression(node.body)

    def _name(self, name: str) -> Values:
        if name in self._local:
            return self._local[name]
        if name in self._globals:
            return of_object(self._globals[name])
        return of_object(getattr(builtins, name)) if hasattr(builtins, name) else frozenset()

    def _of_attribute(self, node: ast.Attribute) -> Values:
        if isinstance(node.value, ast.Name) and node.value.id == "self" and node.attr in self.assigned:
            return self.assigned[node.attr]
        inner = node.value
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "super":
            return self._of_super(node.attr)
        bases = self._expression(inner)
        return frozenset().union(*(self._attribute(base, node.attr) for base in bases))

    def _of_super(self, name: str) -> Values:
        """The attribute of the next class after the one that defines this function."""
        receiver, function = self._method.receiver, self._method.function
        mro = class_of(receiver).__mro__ if receiver is not None else ()
        owner = next((number for number, base in enumerate(mro) if holds(base, function)), -1)
        following = (vars(base).get(name) for base in mro[owner + 1 :])
        found = next((value for value in following if value is not None), None)
        return bound(found, receiver) if found is not None else frozenset()

    def _attribute(self, base: Of | Ref | Method, name: str) -> Values:
        match base:
            case Ref(object=types.ModuleType() as module):
                return of_object(getattr(module, name)) if hasattr(module, name) else frozenset()
            case Ref(object=type() as kind):
                return bound(inspect.getattr_static(kind, name, None), kind)
            case Of():
                return self._of_instance(base.type, name)
        return frozenset()

    def _of_instance(self, kind: Any, name: str) -> Values:
        """An attribute of an instance. That of a protocol or a base class is also that of its implementations."""
        plain = class_of(kind)
        if not plain.__module__.startswith(ROOTS):
            self._call_back(name)
            return of_container(kind, name) or of_third_party(plain, kind, name)
        found = set[Of | Ref | Method]()
        for one in self._analysis.implementations(plain):
            receiver = kind if one is plain else one
            static = inspect.getattr_static(one, name, None)
            getter = static.fget if isinstance(static, property) else getattr(static, "func", None)
            if isinstance(static, property | functools.cached_property):
                self._follow(Method(getter, receiver))
                found |= of_hint(hints_of(getter, receiver).get("return"))
            elif (values := self._analysis.fields(one).get(name)) is not None:
                found |= substituted(values, kind)
            elif static is not None:
                found |= bound(static, receiver)
        return frozenset(found)

    def _call_back(self, name: str) -> None:
        base, methods = self._analysis.calls_back.get(name, (object, ()))
        for kind in self._analysis.implementations(base) if methods else ():
            for method in methods:
                self._mentioned(bound(inspect.getattr_static(kind, method, None), kind))

    def _mentioned(self, values: Values) -> Values:
        """A function that is mentioned may be called."""
        for value in values:
            if isinstance(value, Method):
                self._follow(value)
        return values

    def _follow(self, method: Method) -> None:
        if self._analysis.follows(method.function) and node_of(method.function):
            self._part.calls.add(method)

    def _call(self, node: ast.Call) -> Values:
        name = last_name(node.func)
        if name in DETACHED:
            return frozenset()
        if name == "cast" and len(node.args) == 2:
            self._expression(node.args[1])
            return of_hint(self._hint(node.args[0]))
        functions = self._expression(node.func)
        self._bind_lambdas(node, functions)
        arguments = [self._expression(argument) for argument in node.args]
        for keyword in node.keywords:
            self._expression(keyword.value)
        if name in SAME and arguments:
            return arguments[0]
        if name in ELEMENT and arguments:
            return elements(arguments[0])
        return frozenset().union(*map(self._called, functions))

    def _bind_lambdas(self, node: ast.Call, functions: Values) -> None:
        """Bind a lambda's parameters to the types that the called function declares for its argument."""
        for function in functions:
            if not isinstance(function, Method):
                continue
            hints = hints_of(function.function, function.receiver)
            names = [name for name in inspect.signature(function.function).parameters if name not in ("self", "cls")]
            given = [*zip(names, node.args, strict=False), *((one.arg, one.value) for one in node.keywords)]
            for name, argument in given:
                hint = hints.get(name or "")
                if isinstance(argument, ast.Lambda) and typing.get_origin(hint) is collections.abc.Callable:
                    takes = typing.get_args(hint)[0]
                    self._bound[argument] = [of_hint(one) for one in takes] if isinstance(takes, list) else ()

    def _called(self, function: Of | Ref | Method) -> Values:
        """The values that a call returns."""
        match function:
            case Ref(object=type() as kind):
                self._construct(kind)
                return frozenset({Of(kind)})
            case Ref(object=kind) if isinstance(typing.get_origin(kind), type):
                self._construct(typing.get_origin(kind))
                return frozenset({Of(kind)})
            case Method():
                self._follow(function)
                returned = hints_of(function.function, function.receiver).get("return")
                return of_hint(function.receiver if returned is typing.Self else returned)
            case Of(type=kind) if typing.get_origin(kind) is collections.abc.Callable:
                return of_hint(typing.get_args(kind)[1])
        return frozenset()

    def _construct(self, kind: Any) -> None:
        if isinstance(kind, type) and issubclass(kind, GraphmeshError):
            if kind.reason:
                self._part.errors.add(kind)
        elif isinstance(kind, type) and kind.__module__.startswith(ROOTS):
            for name in ("__init__", "__post_init__"):
                self._mentioned(bound(inspect.getattr_static(kind, name, None), kind))

    def _hint(self, node: ast.expr | None) -> Any:
        return evaluated(ast.unparse(node), self._globals) if node is not None else None


def holds(base: type, function: Any) -> bool:
    held = vars(base).get(function.__name__)
    held = getattr(held, "fget", held)
    return held is not None and inspect.unwrap(getattr(held, "__func__", held)) is function


def reraises_caught(handler: ast.ExceptHandler) -> bool:
    """Whether a handler raises again what it has caught."""
    raises = [node for node in ast.walk(handler) if isinstance(node, ast.Raise)]
    return any(node.exc is None or (isinstance(node.exc, ast.Name) and node.exc.id == handler.name) for node in raises)


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
