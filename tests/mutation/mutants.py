"""Mutants of a function: its source with one place changed, by rule, from the syntax tree.

    comparison   < <= > >= == != is in: the neighbour and the opposite       condition   always, never
    and, or      the other one; each operand left out                        not         left out
    arithmetic   + - * // % & | ^ << >>: another one; an operand of & | ^ left out
    number       one more, one less; `_32` and the like are numbers too      member      of an enumeration: another one
    statement    left out, where a name stays defined                        return      None
    set          of names: one left out, one more (a stage's declaration narrowed and widened)
    call         two neighbouring arguments swapped, a keyword left out; min max any all: the other one

Only the changed place is written anew; everything else is the source's own text. A mutant is named by the line before
and after, so its name stays the same where lines above it come and go.

Does not mutate annotations, defaults, decorators, docstrings or other text, and not what a function raises.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator

_COMPARE: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">="), ast.LtE: ("<", ">"), ast.Gt: (">=", "<="), ast.GtE: (">", "<"), ast.Eq: ("!=",),
    ast.NotEq: ("==",), ast.Is: ("is not",), ast.IsNot: ("is",), ast.In: ("not in",), ast.NotIn: ("in",),
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "//", ast.FloorDiv: "*", ast.Mod: "//", ast.Div: "*", ast.BitAnd: "|",
    ast.BitOr: "&", ast.BitXor: "|", ast.LShift: ">>", ast.RShift: "<<", ast.Pow: "*",
}  # fmt: skip
_BITS = (ast.BitAnd, ast.BitOr, ast.BitXor)
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_MEMBERS = {
    "Verdict": ("DELIVERED", "INTEGRITY"), "Direction": ("IN", "OUT"), "State": ("VALID", "LARVAL"),
    "Mode": ("TUNNEL", "TRANSPORT"),
}  # fmt: skip
_VERDICTS = ("DELIVERED", "INTEGRITY")
_ANOTHER = '"length"'
"""A column of the source that no stage may write."""
_NUMBER = re.compile(r"_(\d+)")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A module's source with one change; `was` and `becomes` are the changed lines, blanks made one."""

    line: int
    was: str
    becomes: str
    source: str

    @property
    def name(self) -> str:
        """What the change is, in one line."""
        return f"{self.was}  ->  {self.becomes}"


Span = tuple[int, int]
Change = tuple[Span, str]


def mutants_of(source: str, name: str) -> list[Mutant]:
    """All mutants of `name`: a function, `Class.method`, a class, or a name that the module assigns to."""
    where = _Source(source)
    found, seen, names = [], {source}, Counter[str]()
    for (start, end), text in _changes(where, _definition(ast.parse(source), name)):
        changed = where.replaced(start, end, text)
        if changed in seen:
            continue
        seen.add(changed)
        mutant = where.mutant(start, end, text, changed)
        names[mutant.name] += 1
        if names[mutant.name] > 1:  # the function has the same line more than once
            mutant = dataclasses.replace(mutant, becomes=f"{mutant.becomes}  #{names[mutant.name]}")
        found.append(mutant)
    return found


class _Source:
    """A text by the lines and byte columns of its syntax tree."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self._starts = [0]
        for line in self.data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> Span:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def text(self, node: ast.expr | ast.stmt | ast.keyword) -> str:
        start, end = self.span(node)
        return self.data[start:end].decode()

    def replaced(self, start: int, end: int, text: str) -> str:
        return (self.data[:start] + text.encode() + self.data[end:]).decode()

    def mutant(self, start: int, end: int, text: str, changed: str) -> Mutant:
        first = self.data.rfind(b"\n", 0, start) + 1
        after = self.data.find(b"\n", end)
        last = len(self.data) if after < 0 else after
        was = self.data[first:last].decode()
        becomes = self.data[first:start].decode() + text + self.data[end:last].decode()
        return Mutant(self.data.count(b"\n", 0, start) + 1, _one_line(was), _one_line(becomes), changed)


def _one_line(code: str) -> str:
    """Without comments, blanks made one."""
    return " ".join(re.sub(r"  # .*", "", code).split())


def _definition(tree: ast.Module, name: str) -> ast.stmt:
    body: list[ast.stmt] = tree.body
    found: ast.stmt | None = None
    for part in name.split("."):
        found = next((node for node in body if part in _names(node)), None)
        if found is None:
            raise LookupError(f"no {name} in this module")
        body = getattr(found, "body", [])
    assert found is not None
    return found


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _changes(where: _Source, root: ast.stmt) -> Iterator[Change]:
    for node in _walk(root):
        if isinstance(node, ast.expr):
            yield from _expression(where, node)
        elif isinstance(node, ast.comprehension):
            for test in node.ifs:
                yield where.span(test), "True"
        elif isinstance(node, ast.FunctionDef):
            yield from _statements(where, node)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes in the source's order, without what no mutant changes."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.Raise | ast.JoinedStr | ast.Assert):
                yield from _walk(child)


def _expression(where: _Source, node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        yield from _compare(where, node)
    elif isinstance(node, ast.BoolOp):
        yield from _bool(where, node)
    elif isinstance(node, ast.BinOp):
        yield from _binary(where, node)
    elif isinstance(node, ast.UnaryOp):
        if not isinstance(node.operand, ast.Constant):
            yield where.span(node), f"({where.text(node.operand)})"
    elif isinstance(node, ast.IfExp):
        for kept in (node.body, node.orelse):
            yield where.span(node), f"({where.text(kept)})"
    elif isinstance(node, ast.Call):
        yield from _call(where, node)
    elif isinstance(node, ast.Set):
        yield from _set(where, node)
    elif isinstance(node, ast.Constant | ast.Name | ast.Attribute):
        for text in _atom(node):
            yield where.span(node), text


def _compare(where: _Source, node: ast.Compare) -> Iterator[Change]:
    sides = [node.left, *node.comparators]
    for op, left, right in zip(node.ops, sides, sides[1:], strict=False):
        # Between the two sides there are blanks, brackets and the operator.
        start, end = where.span(left)[1], where.span(right)[0]
        between = where.data[start:end].decode()
        for text in _COMPARE[type(op)]:
            yield (start, end), re.sub(r"not\s+in|is\s+not|in|is|[<>=!]+", text, between, count=1)


def _bool(where: _Source, node: ast.BoolOp) -> Iterator[Change]:
    values = [f"({where.text(value)})" for value in node.values]
    was, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    yield where.span(node), f"({f' {other} '.join(values)})"
    for left_out in range(len(values)):
        yield where.span(node), f"({f' {was} '.join(values[:left_out] + values[left_out + 1 :])})"


def _binary(where: _Source, node: ast.BinOp) -> Iterator[Change]:
    if isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
        return
    left, right = f"({where.text(node.left)})", f"({where.text(node.right)})"
    yield where.span(node), f"({left} {_ARITHMETIC[type(node.op)]} {right})"
    if isinstance(node.op, _BITS):
        yield where.span(node), left
        yield where.span(node), right


def _call(where: _Source, node: ast.Call) -> Iterator[Change]:
    if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield where.span(node.func), _CALLS[node.func.id]
    symmetric = isinstance(node.func, ast.Name) and node.func.id in ("min", "max")
    for left, right in zip(node.args, node.args[1:], strict=False):
        if not symmetric and not isinstance(left, ast.Starred) and not isinstance(right, ast.Starred):
            start, end = where.span(left)[0], where.span(right)[1]
            between = where.data[where.span(left)[1] : where.span(right)[0]].decode()
            yield (start, end), where.text(right) + between + where.text(left)
    for keyword in node.keywords:
        if keyword.arg is not None:
            start, end = where.span(keyword)
            comma = re.match(rb"\s*,", where.data[end:])
            yield (start, end + (comma.end() if comma else 0)), ""


def _set(where: _Source, node: ast.Set) -> Iterator[Change]:
    names = [where.text(element) for element in node.elts]
    if not all(isinstance(element, ast.Constant) and isinstance(element.value, str) for element in node.elts):
        return
    yield where.span(node), f"{{{', '.join([*names, _ANOTHER])}}}"
    for left_out in range(len(names)):
        kept = names[:left_out] + names[left_out + 1 :]
        yield where.span(node), f"{{{', '.join(kept)}}}" if kept else "set()"


def _atom(node: ast.Constant | ast.Name | ast.Attribute) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield str(not node.value)
        elif isinstance(node.value, int):
            yield from (str(n) for n in (node.value + 1, node.value - 1) if n >= 0)
        elif isinstance(node.value, bytes):
            yield repr(node.value + b"\1")
    elif isinstance(node, ast.Name):
        if number := _NUMBER.fullmatch(node.id):
            yield from (f"np.uint64({n})" for n in (int(number[1]) + 1, int(number[1]) - 1) if n >= 0)
        elif node.id in _VERDICTS:
            yield _VERDICTS[1 - _VERDICTS.index(node.id)]
    elif isinstance(node.value, ast.Name) and node.value.id in _MEMBERS:
        first, second = _MEMBERS[node.value.id]
        yield f"{node.value.id}.{second if node.attr == first else first}"


def _statements(where: _Source, function: ast.FunctionDef) -> Iterator[Change]:
    """What is left out of a function; a condition that always or never holds."""
    arguments = function.args
    names = Counter(a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))
    names.update(node.id for node in ast.walk(function) if isinstance(node, ast.Name) and _stored(node))
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.IfExp):
            yield where.span(node.test), "True"
            yield where.span(node.test), "False"
        elif isinstance(node, ast.While):
            yield where.span(node.test), "False"
        elif isinstance(node, ast.Return):
            if node.value is not None and where.text(node.value) != "None":
                yield where.span(node), "return None"
        elif isinstance(node, ast.Raise | ast.Continue | ast.Break | ast.AugAssign):
            yield where.span(node), "pass"
        elif isinstance(node, ast.Expr):
            if not isinstance(node.value, ast.Constant):
                yield where.span(node), "pass"
        elif isinstance(node, ast.Assign):
            written = [n for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name) and _stored(n)]
            if all(names[name.id] > 1 for name in written):
                yield where.span(node), "pass"


def _stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
