"""Literals in program files, read with `ast`: nothing is imported, executed or compiled to run.

`Module` finds constants, assignments, branches and string constants in one file; `evaluate` gives
the value of what is a literal in effect: displays, implicit and explicit concatenation, names of
other module constants, f-strings and comprehensions over such names.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_SOURCE_BYTES = 4 * 1024 * 1024
_TOP_LEVEL = re.compile(r"^(?:def|class|async|if|for|while|with|try|@|[A-Za-z_])")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class SymbolError(Exception):
    """A symbol is not where it should be; the text names it."""


class Module:
    """One parsed file.

    Args:
        source: Its text.

    Attributes:
        tree: The syntax tree.

    Raises:
        SymbolError: If it is no Python. A broken top-level block alone is left out.
    """

    def __init__(self, source: str) -> None:
        self.tree = _parse(source)
        self._constants = {
            target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    # -- values ----------------------------------------------------------------------------------
    def constant(self, name: str, *path: Any) -> Any:
        """A module constant, or what lies in it under keys or indices.

        Raises:
            SymbolError: If there is none, or it is no literal.
        """
        if name not in self._constants:
            raise SymbolError(f"module constant {name}")
        return _at(self.evaluate(self._constants[name], name), path, name)

    def local(self, function: str, name: str, *path: Any) -> Any:
        """What a function first assigns to a name, or what lies in it."""
        for value in self.assigned(self.function(function), name):
            return _at(self.evaluate(value, f"{function}.{name}"), path, name)
        raise SymbolError(f"{function}: assignment to {name}")

    def attribute(self, class_name: str, name: str) -> Any:
        """A constant of a class."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef) and node.name == class_name:
                for value in self.assigned(node, name):
                    return self.evaluate(value, f"{class_name}.{name}")
        raise SymbolError(f"class {class_name}: {name}")

    def default(self, function: str, parameter: str) -> Any:
        """Default of a parameter."""
        arguments = self.function(function).args
        named = arguments.args[len(arguments.args) - len(arguments.defaults) :]
        for argument, value in zip(named, arguments.defaults, strict=True):
            if argument.arg == parameter:
                return self.evaluate(value, f"{function}({parameter})")
        raise SymbolError(f"{function}: default of {parameter}")

    def strings(self, function: str) -> list[str]:
        """String constants of a function in source order, docstring and f-strings left out."""
        node = self.function(function)
        skipped = {
            id(inner)
            for each in ast.walk(node)
            if isinstance(each, ast.JoinedStr)
            for inner in ast.walk(each)
        }
        if ast.get_docstring(node) is not None and isinstance(node.body[0], ast.Expr):
            skipped.add(id(node.body[0].value))
        found = [
            each
            for each in ast.walk(node)
            if isinstance(each, ast.Constant)
            and isinstance(each.value, str)
            and id(each) not in skipped
        ]
        found.sort(key=lambda each: (each.lineno, each.col_offset))
        return [str(each.value) for each in found]

    # -- nodes -----------------------------------------------------------------------------------
    def function(self, name: str) -> ast.FunctionDef:
        """A function or method by name.

        Raises:
            SymbolError: If there is none.
        """
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return node
        raise SymbolError(f"function {name}")

    def assigned(self, node: ast.AST, name: str) -> Iterator[ast.expr]:
        """Values that are assigned to a name below a node, in source order."""
        found = [
            each
            for each in ast.walk(node)
            if isinstance(each, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == name for t in each.targets)
        ]
        for each in sorted(found, key=lambda each: each.lineno):
            yield each.value

    def branch(self, node: ast.AST, mention: Any) -> ast.If:
        """The first `if` or `elif` below a node whose test mentions a constant.

        Raises:
            SymbolError: If there is none.
        """
        found = [
            each
            for each in ast.walk(node)
            if isinstance(each, ast.If)
            and any(isinstance(n, ast.Constant) and n.value == mention for n in ast.walk(each.test))
        ]
        if not found:
            raise SymbolError(f"branch on {mention!r}")
        return min(found, key=lambda each: each.lineno)

    def calls(self, node: ast.AST, name: str) -> list[ast.Call]:
        """Calls of a function or method of that name below a node, in source order."""
        found = [
            each
            for each in ast.walk(node)
            if isinstance(each, ast.Call)
            and (
                (isinstance(each.func, ast.Attribute) and each.func.attr == name)
                or (isinstance(each.func, ast.Name) and each.func.id == name)
            )
        ]
        # Of a chain `a.f(1).f(2)` the outer call starts at the same place and ends later.
        return sorted(found, key=lambda each: (each.lineno, each.end_lineno, each.end_col_offset))

    def call_named(self, function: str, name: str) -> ast.Call:
        """The call of a function with the keyword argument `name=<name>`."""
        for call in self.calls(self.tree, function):
            for keyword in call.keywords:
                if keyword.arg == "name" and getattr(keyword.value, "value", None) == name:
                    return call
        raise SymbolError(f"{function}(name={name!r})")

    def evaluate(self, node: ast.expr, what: str, scope: Mapping[str, Any] | None = None) -> Any:
        """The value of a literal expression.

        Raises:
            SymbolError: If it is more than a literal.
        """
        try:
            return self._value(node, scope or {})
        except (TypeError, KeyError, IndexError, RecursionError, ValueError):
            raise SymbolError(f"{what}: is no literal") from None

    def _value(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        value: Any
        match node:
            case ast.Constant():
                value = node.value
            case ast.List() | ast.Tuple() | ast.Set():
                value = [self._value(each, scope) for each in node.elts]
            case ast.Dict():
                value = {
                    self._value(key, scope): self._value(each, scope)
                    for key, each in zip(node.keys, node.values, strict=True)
                    if key is not None
                }
            case ast.BinOp(op=ast.Add()):
                value = self._value(node.left, scope) + self._value(node.right, scope)
            case ast.Name():
                value = self._name(node.id, scope)
            case ast.Subscript():
                value = self._value(node.value, scope)[self._value(node.slice, scope)]
            case ast.JoinedStr():
                value = "".join(str(self._value(each, scope)) for each in node.values)
            case ast.FormattedValue(conversion=-1, format_spec=None):
                value = self._value(node.value, scope)
            case ast.ListComp(generators=[generator]) if not generator.ifs:
                value = self._comprehension(node, generator, scope)
            case _:
                raise TypeError
        return value

    def _comprehension(
        self, node: ast.ListComp, generator: ast.comprehension, scope: Mapping[str, Any]
    ) -> list[Any]:
        if not isinstance(generator.target, ast.Name):
            raise TypeError
        name = generator.target.id
        items = self._value(generator.iter, scope)
        return [self._value(node.elt, {**scope, name: item}) for item in items]

    def _name(self, name: str, scope: Mapping[str, Any]) -> Any:
        if name in scope:
            return scope[name]
        return self._value(self._constants[name], {})


def contained(test: ast.expr) -> list[str]:
    """Texts that a condition looks for with `in`, `not in` or `.find`, in source order."""
    found = []
    for node in ast.walk(test):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            found.append(node.left)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "find":
            found.extend(node.args[:1])
    texts = [n for n in found if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    texts.sort(key=lambda each: (each.lineno, each.col_offset))
    return [str(each.value) for each in texts]


def chain(node: ast.If) -> list[ast.If]:
    """An `if` and its `elif`s."""
    found = [node]
    while len(found[-1].orelse) == 1 and isinstance(found[-1].orelse[0], ast.If):
        found.append(found[-1].orelse[0])
    return found


def last_text(node: ast.expr) -> str:
    """The last string constant in an expression.

    Raises:
        SymbolError: If there is none.
    """
    texts = [n for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    if not texts:
        raise SymbolError("a text")
    return str(max(texts, key=lambda each: (each.lineno, each.col_offset)).value)


def _at(value: Any, path: Sequence[Any], what: str) -> Any:
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            raise SymbolError(f"{what}[{key!r}]") from None
    return value


def _parse(source: str) -> ast.Module:
    """Parses a file; a top-level block that is no Python (upstream had one) is blanked."""
    lines = source.splitlines()
    for _ in range(5):
        try:
            return ast.parse("\n".join(lines))
        except (SyntaxError, ValueError) as error:
            start = (getattr(error, "lineno", None) or 0) - 1
            if not 0 <= start < len(lines):
                break
            while start > 0 and not _TOP_LEVEL.match(lines[start]):
                start -= 1
            end = start + 1
            while end < len(lines) and not _TOP_LEVEL.match(lines[end]):
                end += 1
            lines[start:end] = [""] * (end - start)
        except (RecursionError, MemoryError):
            break
    raise SymbolError("a Python file")
