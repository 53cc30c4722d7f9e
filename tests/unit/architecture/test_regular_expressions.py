"""Every regular expression of the code matches in linear time: a longer text takes proportionally longer.

Expressions are found in the syntax trees of the packages, and timed on texts that are made from their own parts: what
each repeated part matches, many times over, behind what may precede it and before a character that fits nowhere.
"""

import ast
import gc
import importlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("protos/src", "services", "orchestrator", "tools")

IMPORT = re.compile(r"\bimport\b.*\bre\b")
MODULE_FUNCTIONS = frozenset({"search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn"})
LENGTHS = (*range(8, 36, 4), 128, 1024, 8192)
"""Lengths of the repeated part. They grow by steps first: an exponential expression takes too long for a doubling."""
FAST_SECONDS = 0.01
"""An expression that is faster than this on the longest text is linear: 8192 squared steps take some 100 ms."""
MAX_RATIO = 3.0
"""The highest growth of the time for a text of the double length: 2 where it is linear, 4 where it is quadratic."""
REPEATS = 5
"""Measurements of which the fastest counts: another process may use the caches at some of them."""

AT_RUN_TIME = {
    ("graphmesh_nodes.model_tools", "pattern"): "compiled to check its syntax, never matched",
    ("graphmesh_mesh.openapi.rules", "pattern"): "likewise",
}
"""Expressions that are parameters, with the reason that they need no measurement. Those of callers of the model are
matched by another engine: `graphmesh_chassis.linear_patterns`."""
PARAMETERS = {"identity": "INV-1042", "service": "billing", "name": "billing"}
"""Examples for the variables that expressions are made of."""


@dataclass(frozen=True)
class Expression:
    module: str
    line: int
    pattern: str
    flags: int
    functions: frozenset[str]

    def __str__(self) -> str:
        return f"{self.module}:{self.line}"


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            if not IMPORT.search(text := file.read_text()):
                continue  # most files: to parse them takes seconds
            tree = ast.parse(text)
            names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
            if "re" in names:
                yield name_of(file), tree


def name_of(file: Path) -> str:
    parts = [file.stem]
    while (file.parent / "__init__.py").exists():
        file = file.parent
        parts.insert(0, file.name)
    return ".".join(parts)


def expressions() -> Iterator[Expression]:
    for module, tree in modules():
        for call in ast.walk(tree):
            match call:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=function), args=[pattern, *_]):
                    if function in {"compile", *MODULE_FUNCTIONS} and (module, ast.unparse(pattern)) not in AT_RUN_TIME:
                        yield expression(module, tree, call, function)


def expression(module: str, tree: ast.Module, call: ast.Call, function: str) -> Expression:
    flags = [argument for argument in call.args[1:] if ast.unparse(argument).startswith("re.")]
    flags += [keyword.value for keyword in call.keywords if keyword.arg == "flags"]
    return Expression(
        module,
        call.lineno,
        value(module, tree, call.args[0]),
        sum(int(value(module, tree, flag)) for flag in flags),
        frozenset({function}) if function in MODULE_FUNCTIONS else functions_of(tree, call),
    )


def value(module: str, tree: ast.Module, node: ast.expr) -> Any:
    """The value of an expression of a module, whose local variables are examples or are assigned in the module."""
    variables: dict[str, Any] = {**vars(importlib.import_module(module)), **PARAMETERS}
    for name in [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and inner.id not in variables]:
        assigned = [
            statement.value
            for statement in ast.walk(tree)
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name
        ]
        variables[name] = value(module, tree, assigned[0])
    return eval(compile(ast.Expression(node), module, "eval"), variables)


def lines_of(node: ast.stmt | ast.expr) -> set[int]:
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def functions_of(tree: ast.Module, call: ast.Call) -> frozenset[str]:
    """The functions that a module calls of a compiled expression; all, where it hands the expression on."""
    targets = {
        ast.unparse(target)
        for statement in ast.walk(tree)
        if isinstance(statement, ast.Assign) and lines_of(call) <= lines_of(statement)
        if call in ast.walk(statement.value)
        for target in statement.targets
    }
    called = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).partition("[")[0] in targets
    }
    return frozenset(called & MODULE_FUNCTIONS) or frozenset({"search", "fullmatch"})


def texts_of(pattern: str, flags: int) -> Iterator[Callable[[int], str]]:
    """Texts of any length that are hard for an expression: each has one part of it repeated."""
    parsed = re._parser.parse(pattern, flags)  # type: ignore[attr-defined]
    repeated = list(dict.fromkeys(chain.from_iterable(repetitions(parsed))))
    bodies = list(dict.fromkeys(body for _, body in repeated))[:6]
    pairs = [("", first + second) for first in bodies for second in bodies if first != second]
    heads = list(dict.fromkeys(("", head) for head, _ in repeated if head))
    for head, body in dict.fromkeys((*repeated, *heads, *pairs)):
        for tail in ("\x00", body[:1]):
            yield partial(hard_text, head, body, tail)


def hard_text(head: str, body: str, tail: str, length: int) -> str:
    return head + body * (length // len(body) + 1) + tail


def repetitions(parsed: Any, head: str = "") -> Iterator[list[tuple[str, str]]]:
    """The repeated parts of an expression as examples, each with an example of what precedes it."""
    for operation, argument in parsed:
        inner: list[Any] = []
        match str(operation):
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                _, most, inner_parsed = argument
                inner = [inner_parsed]
                if most > 16:
                    yield [(head, example) for example in examples(inner_parsed) if example]
            case "SUBPATTERN":
                inner = [argument[-1]]
            case "BRANCH":
                inner = list(argument[1])
            case "ATOMIC_GROUP":
                inner = [argument]
            case "ASSERT" | "ASSERT_NOT":
                inner = [argument[1]]
        for part in inner:
            yield from repetitions(part, head)
        head += next(iter(examples([(operation, argument)])), "")


def examples(parsed: Any) -> list[str]:
    """Short texts that an expression matches, one for each choice that its first level has."""
    found = [""]
    for operation, argument in parsed:
        found = [before + after for before in found[:4] for after in examples_of(str(operation), argument)][:12]
    return found


def examples_of(operation: str, argument: Any) -> list[str]:
    match operation:
        case "LITERAL":
            return [chr(argument)]
        case "NOT_LITERAL":
            return [next(character for character in "a#" if ord(character) != argument)]
        case "ANY":
            return ["a"]
        case "IN":
            return members(argument)
        case "BRANCH":
            return [example for part in argument[1] for example in examples(part)[:2]]
        case "SUBPATTERN":
            return examples(argument[-1])
        case "ATOMIC_GROUP":
            return examples(argument)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, _, inner = argument
            return [*(example * max(least, 1) for example in examples(inner)), *([""] if not least else [])]
    return [""]


def members(argument: Any) -> list[str]:
    """Characters of a class: one of each kind."""
    single = [(operation, value) for operation, value in argument if str(operation) != "NEGATE"]
    candidates = "a1A -_.,#=*>`\n\t@"
    compiled = re._compiler.compile  # type: ignore[attr-defined]
    state = re._parser.parse("a")  # type: ignore[attr-defined]
    state.data = [(re._constants.IN, argument)]  # type: ignore[attr-defined]
    matching = compiled(state)
    literals = [chr(value) for operation, value in single if str(operation) == "LITERAL"]
    return [character for character in dict.fromkeys((*literals[:2], *candidates)) if matching.fullmatch(character)][:5]


def seconds(run: Callable[[], Any]) -> float:
    """CPU time of this thread: other processes do not count."""
    began = time.thread_time()
    run()
    return time.thread_time() - began


def growth(run: Callable[[str], Any], text: Callable[[int], str]) -> float:
    """The factor by which the time grows with a doubled text; 0 where it is too fast to be measured."""
    for length in LENGTHS:
        hard = text(length)
        if seconds(partial(run, hard)) > FAST_SECONDS:
            half = text(length // 2)
            pairs = [(seconds(partial(run, hard)), seconds(partial(run, half))) for _ in range(REPEATS)]
            longer, shorter = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
            if longer > FAST_SECONDS and longer / shorter > MAX_RATIO:
                return longer / shorter
    return 0


def superlinear(pattern: str, flags: int, functions: frozenset[str]) -> tuple[float, str]:
    """The growth for the first text for which it is too high, and the beginning of that text; else 0."""
    compiled = re.compile(pattern, flags)
    for text in texts_of(pattern, flags):
        for function in functions:
            if grown := growth(caller(compiled, function), text):
                return grown, text(16)
    return 0, ""


def caller(compiled: re.Pattern[str], function: str) -> Callable[[str], Any]:
    if function in {"sub", "subn"}:
        return lambda text: getattr(compiled, function)("", text)
    if function == "finditer":
        return lambda text: list(compiled.finditer(text))
    return cast("Callable[[str], Any]", getattr(compiled, function))


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


EXPRESSIONS = list(expressions())


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_matches_in_linear_time(expression: Expression) -> None:
    grown, text = superlinear(expression.pattern, expression.flags, expression.functions)

    assert not grown, f"a doubled text takes {grown:.1f} times as long: {text!r}, {expression.pattern!r}"


@pytest.mark.parametrize(
    ("pattern", "function"),
    [(r"(a+)+b", "search"), (r"\s+$", "search"), (r"x*y", "findall"), (r"(a|aa)+$", "match")],
)
def test_finds_what_is_not_linear(pattern: str, function: str) -> None:
    assert superlinear(pattern, 0, frozenset({function}))[0] > MAX_RATIO


def test_expressions_are_found_in_all_parts_of_the_code() -> None:
    found = {found.module.partition(".")[0] for found in EXPRESSIONS}

    assert {"support", "graphmesh_model", "graphmesh_retrieval", "graphmesh_chassis", "graphmesh_cli"} <= found
    assert "re" in sys.modules
