"""Fingerprint of a recipe's code: its own definition and every function, class and constant of the package it reaches.

Recipe versions are declared by hand (DESIGN 6); the fingerprint guards them: it follows names through the source text,
function by function, so that a change in one kernel touches the recipes that call it and no others. What cannot
change a result is taken out first: comments, layout, docstrings, annotations of functions, and the version itself.

Pure: the caller gives the source text of a module by its name.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType

from archive_proc.recipes.recipe import Recipe

SourceText = Callable[[str], str | None]
"""Module name to source text; None where there is no such module."""

# The model carries no arithmetic of a recipe, and table rows enter process ids by their digest: a change of either
# changes keys by itself.
OUTSIDE = (
    "archive_proc.errors",
    "archive_proc.model",
    "archive_proc.recipes.recipe",
    "archive_proc.instruments.checks",
    "archive_proc.instruments.products",
    "archive_proc.instruments.rows",
    "archive_proc.instruments.toml_rows",
)
# Followed, because a row's own methods compute, but not counted: how a table is found in its file is no result.
PASSED_THROUGH = ("archive_proc.instruments.tables",)


@dataclass(slots=True)
class _Module:
    """The top level of one module: what each name is bound to."""

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name to (module, name in it; empty for the module itself)."""


class Fingerprints:
    """Fingerprints of one package's recipes; modules are read once."""

    def __init__(self, source: SourceText, package: str = "archive_proc") -> None:
        self._source = source
        self._package = package
        self._modules: dict[str, _Module | None] = {}

    def of(self, module: str, name: str) -> str:
        """sha256, 64 hex digits, of all that the top-level `name` of `module` reaches. Raises KeyError without it."""
        reached = sorted(self.reached(module, name).items())
        lines = [f"{where}:{what}\n{text}" for (where, what), text in reached if where not in PASSED_THROUGH]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def defines(self, module: str, name: str) -> bool:
        """True when the top level of `module` itself binds `name`, other than by importing it."""
        found = self._module(module)
        return found is not None and name in found.definitions

    def of_recipe(self, recipe: Recipe, modules: Mapping[str, ModuleType]) -> str:
        """The fingerprint of a recipe, found as a top-level name of the module of its functions or of any other given.

        `modules` is `sys.modules` or a part of it. Raises LookupError for a recipe that is no top-level name.
        """
        home = recipe.close.__module__
        for module in (home, *sorted(one for one in modules if one.startswith(f"{self._package}.recipes."))):
            for name, value in list(vars(modules[module]).items()):
                if value is recipe and self.defines(module, name):
                    return self.of(module, name)
        raise LookupError(f"{recipe.name} is no top-level name of a module of {self._package}.recipes")

    def reached(self, module: str, name: str) -> dict[tuple[str, str], str]:
        """(module, name) to normalised code, for all that `name` reaches, itself included."""
        first = self._module(module)
        if first is None or name not in first.definitions:
            raise KeyError(f"{module}.{name}")
        todo, found = [(module, name)], dict[tuple[str, str], str]()
        while todo:
            one = todo.pop()
            if one in found:
                continue
            where = self._module(one[0])
            if where is None or one[1] not in where.definitions:
                continue
            statements = where.definitions[one[1]]
            found[one] = "\n".join(_normal(statement) for statement in statements)
            for statement in statements:
                todo += self._uses(where, one[0], statement)
        return found

    def _uses(self, module: _Module, name: str, statement: ast.stmt) -> list[tuple[str, str]]:
        """The package's definitions that a statement mentions."""
        # Imports inside functions bind names too.
        local = dict(module.imports)
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                local |= self._bindings(node, name)
        found = []
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                if node.id in module.definitions:
                    found.append((name, node.id))
                elif node.id in local and local[node.id][1]:
                    found.append(local[node.id])
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                where, inside = local.get(node.value.id, ("", ""))
                if where and not inside:
                    found.append((where, node.attr))
        return [self._origin(*one) for one in found]

    def _origin(self, module: str, name: str) -> tuple[str, str]:
        """Where a name is defined, through modules that only pass it on."""
        for _ in range(8):
            where = self._module(module)
            if where is None or name in where.definitions or name not in where.imports:
                break
            onward, inside = where.imports[name]
            if not inside:
                break
            module, name = onward, inside
        return module, name

    def _module(self, name: str) -> _Module | None:
        if name not in self._modules:
            inside = name == self._package or name.startswith(f"{self._package}.")
            outside = any(name == one or name.startswith(f"{one}.") for one in OUTSIDE)
            text = self._source(name) if inside and not outside else None
            self._modules[name] = None if text is None else self._read(name, text)
        return self._modules[name]

    def _read(self, name: str, text: str) -> _Module:
        module = _Module()
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                module.imports |= self._bindings(statement, name)
            for bound in _bound(statement):
                module.definitions.setdefault(bound, []).append(statement)
        return module

    def _bindings(self, statement: ast.Import | ast.ImportFrom, module: str) -> dict[str, tuple[str, str]]:
        if isinstance(statement, ast.Import):
            return {
                one.asname or one.name: (one.name, "") for one in statement.names if one.name.startswith(self._package)
            }
        origin = statement.module or ""
        if statement.level:
            parent = module.rsplit(".", statement.level)[0]
            origin = f"{parent}.{origin}".rstrip(".")
        if not origin.startswith(self._package):
            return {}
        found = {}
        for one in statement.names:
            # `from kernels import combine` binds a module, `from kernels.combine import mean` a function.
            is_module = self._source(f"{origin}.{one.name}") is not None
            found[one.asname or one.name] = (f"{origin}.{one.name}", "") if is_module else (origin, one.name)
        return found


def _bound(statement: ast.stmt) -> list[str]:
    """The names that a top-level statement binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    if isinstance(statement, ast.If | ast.Try | ast.With | ast.For):
        return [name for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt) for name in _bound(node)]
    return []


class _Stripped(ast.NodeTransformer):
    """Takes out what cannot change a result."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        node.type_comment = None
        node.body = _without_docstring(node.body)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = _without_docstring(node.body)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if called == "Recipe":
            # The version stands beside the fingerprint; cost only predicts.
            node.keywords = [one for one in node.keywords if one.arg not in {"version", "cost"}]
        return node


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    # Strings under fields document them, as docstrings do.
    kept = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    return kept or [ast.Pass()]


def _normal(statement: ast.stmt) -> str:
    # Parsed anew: the transformer works in place and the tree is still needed.
    copy = ast.parse(ast.unparse(statement))
    return ast.dump(_Stripped().visit(copy), annotate_fields=True, include_attributes=False)
