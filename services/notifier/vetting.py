"""What a template may contain: an allow-list over its syntax tree, checked before any of it is compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.notifier.domain.message import COMPONENTS

SCALARS = frozenset({"name", "lender", "contact", "total", "itemise", "opt_out", "link"})
OBJECTS = {
    "split": frozenset(COMPONENTS),
    "loop": frozenset({"first", "last", "index", "length"}),
}
LIST = "debts"
DEBT = frozenset({"amount", "due_on", "product", "loan_id"})
OPEN = "variables"
"""What the policy supplies: its names are not known beforehand."""
RESERVED = SCALARS | OBJECTS.keys() | {LIST, OPEN}
FILTERS = frozenset({"length", "upper", "lower", "trim"})
TESTS = frozenset({"none", "defined"})
COMPARISONS = frozenset({"eq", "ne", "lt", "lteq", "gt", "gteq"})
LONGEST_SOURCE = 8000
_PLAIN = (nodes.Template, nodes.TemplateData, nodes.Const, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr, nodes.Output, nodes.If)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a template must not contain."""

    part: str
    detail: str
    line: int | None = None


class RefusedError(Exception):
    """Raised at the first thing that a template must not contain."""

    def __init__(self, detail: str, line: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.line = line


def problem_of(source: str, part: str) -> Problem | None:
    """Return the problem in one part of a template, or None."""
    try:
        vet(source)
    except RefusedError as error:
        return Problem(part, error.detail, error.line)
    return None


def vet(source: str) -> None:
    """Raise RefusedError unless everything in the source is on the allow-list."""
    if len(source) > LONGEST_SOURCE:
        raise RefusedError(f"a template may have {LONGEST_SOURCE} characters; this has {len(source)}")
    try:
        tree = _parser().parse(source)
        _visit(tree, None, value=False)
    except TemplateSyntaxError as error:
        raise RefusedError(error.message or "not a template", error.lineno) from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise RefusedError("not a template: nested too deeply, or a number too long") from error


def only_says_the_name(source: str) -> bool:
    """Return whether a vetted source only writes the reader's name as it is, or tests whether there is one."""
    tree = _parser().parse(source)
    said = [node for output in tree.find_all(nodes.Output) for node in output.nodes]
    asked = [choice.test for choice in tree.find_all(nodes.If)]
    plain = sum(isinstance(node, nodes.Name) and node.name == "name" for node in said + asked)
    return plain == sum(node.name == "name" for node in tree.find_all(nodes.Name))


@cache
def _parser() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment()


def _visit(node: nodes.Node, target: str | None, *, value: bool) -> None:
    """Check a node and its children; `target` is the debt of the enclosing loop, `value` whether the node's text is written out."""
    match node:
        case nodes.Name():
            _name(node, target, value=value)
        case nodes.Getattr():
            _attribute(node, target)
        case nodes.Getitem():
            raise RefusedError(f"only {LIST}[0] and so on, followed by a field, may be looked up", node.lineno)
        case nodes.For():
            _loop(node, target)
        case nodes.Filter() | nodes.Test():
            _filter(node, target)
        case nodes.Compare():
            _comparison(node, target)
        case _ if isinstance(node, _PLAIN):
            for child, is_value in _children(node):
                _visit(child, target, value=is_value)
        case _:
            raise RefusedError(f"{type(node).__name__.lower()} is not allowed", node.lineno)


def _children(node: nodes.Node) -> Iterator[tuple[nodes.Node, bool]]:
    """Yield the children of a node and whether their text is written out: that of a condition is not."""
    for name, field in node.iter_fields():
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, nodes.Node):
                yield child, isinstance(node, nodes.Output | nodes.CondExpr | nodes.And | nodes.Or) and name != "test"


def _name(node: nodes.Name, target: str | None, *, value: bool) -> None:
    if node.name in SCALARS:
        return
    if node.name not in RESERVED and node.name != target:
        raise RefusedError(f"there is no placeholder {node.name[:64]!r}", node.lineno)
    if value or (node.name == "loop" and target is None):
        raise RefusedError(f"{node.name!r} is not text; name one of its fields", node.lineno)


def _attribute(node: nodes.Getattr, target: str | None) -> None:
    of, known = _fields(node.node, target)
    if node.attr.startswith("_") or (known is not None and node.attr not in known) or (known is None and hasattr(dict, node.attr)):
        raise RefusedError(f"{of} has no field {node.attr[:64]!r}", node.lineno)


def _fields(node: nodes.Node, target: str | None) -> tuple[str, frozenset[str] | None]:
    """Return what a value is, and its fields; None if any field may be named."""
    match node:
        case nodes.Name(name=name) if name == target:
            return "a debt", DEBT
        case nodes.Getitem(node=nodes.Name(name=name), arg=nodes.Const(value=int())) if name == LIST:
            return "a debt", DEBT
        case nodes.Name(name=name) if name == OPEN:
            return OPEN, None
        case nodes.Name(name=name) if name in OBJECTS and (name != "loop" or target is not None):
            return name, OBJECTS[name]
    raise RefusedError("only documented placeholders have fields", node.lineno)


def _loop(node: nodes.For, target: str | None) -> None:
    if target is not None:
        raise RefusedError("loops cannot be nested", node.lineno)
    if not (isinstance(node.iter, nodes.Name) and node.iter.name == LIST) or node.recursive or node.test is not None:
        raise RefusedError(f"a loop can only go over {LIST}", node.lineno)
    if not isinstance(node.target, nodes.Name) or node.target.name in RESERVED:
        raise RefusedError("the loop variable must have a new name", node.lineno)
    for child in node.body:
        _visit(child, node.target.name, value=False)
    for child in node.else_:
        _visit(child, None, value=False)


def _filter(node: nodes.Filter | nodes.Test, target: str | None) -> None:
    allowed, what = (FILTERS, "filter") if isinstance(node, nodes.Filter) else (TESTS, "test")
    if node.name not in allowed:
        raise RefusedError(f"there is no {what} {node.name[:64]!r}", node.lineno)
    if node.node is None or node.args or node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
        raise RefusedError(f"the {what} {node.name!r} follows a value and takes no arguments", node.lineno)
    _visit(node.node, target, value=node.name not in {"length", *TESTS})


def _comparison(node: nodes.Compare, target: str | None) -> None:
    _visit(node.expr, target, value=True)
    for operand in node.ops:
        if operand.op not in COMPARISONS:
            raise RefusedError(f"the comparison {operand.op!r} is not allowed", node.lineno)
        _visit(operand.expr, target, value=True)
