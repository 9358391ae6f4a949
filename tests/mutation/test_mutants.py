"""The rules that make mutants: what each changes in a line; every mutant has a name and is valid Python."""

from __future__ import annotations

import ast
import textwrap

import pytest

from tests.mutation.mutants import mutants_of


def changed(body: str, arguments: str = "a, b, c") -> list[str]:
    """The lines that the mutants of a function put in the place of its one line."""
    found = mutants_of(f"def f({arguments}):\n{textwrap.indent(body, '    ')}\n", "f")
    return [mutant.becomes for mutant in found]


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("return a < b", ["return a <= b", "return a >= b"]),
        ("return a is not b", ["return a is b"]),
        ("return a not in b", ["return a in b"]),
        ("return a == b", ["return a != b"]),
        ("return a | b", ["return ((a) & (b))", "return (a)", "return (b)"]),
        ("return a << b", ["return ((a) >> (b))"]),
        ("return a + 1", ["return ((a) - (1))", "return a + 2", "return a + 0"]),
        ("return a and b", ["return ((a) or (b))", "return ((b))", "return ((a))"]),
        ("return not a", ["return (a)"]),
        ("return _32", ["return np.uint64(33)", "return np.uint64(31)"]),
        ("return True", ["return False"]),
        ("return f(a, b)", ["return f(b, a)"]),
        ("return f(a, k=b)", ["return f(a, )"]),
        ("return min(a, b)", ["return max(a, b)"]),
        ("return a if b else c", ["return a if True else c", "return a if False else c", "return (a)", "return (c)"]),
        ("return [x for x in a if x]", ["return [x for x in a if True]"]),
        ("return Verdict.POLICY", ["return Verdict.DELIVERED"]),
        ('return {"x", "y"}', ['return {"x", "y", "length"}', 'return {"y"}', 'return {"x"}']),
    ],
)
def test_an_expression(line, becomes):
    assert changed(line) == ["return None", *becomes]


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("f(a)", ["pass"]),
        ("a = b", ["pass"]),  # an argument stays defined
        ("d = b", []),
        ("a.d = b", ["pass"]),
        ("a += b", ["pass"]),
        ("raise Wrong(1 + 2)", ["pass"]),
        ("return", []),
        ('"""Text < 3."""', []),
        ("assert a < b", []),
    ],
)
def test_a_statement(line, becomes):
    assert changed(line) == becomes


def test_a_condition_always_and_never_holds():
    assert changed("if a:\n    return") == ["if True:", "if False:"]
    assert changed("while a:\n    f()") == ["while False:", "pass"]


def test_defaults_annotations_and_decorators_stay():
    assert mutants_of("@d(1 + 2)\ndef f(a: int = 3) -> 4:\n    pass\n", "f") == []


def test_a_name_stays_the_same_where_lines_above_come_and_a_second_equal_line_has_a_number():
    source = "def f(a):\n    if a:\n        return 0  # why\n    return 0\n"
    names = [mutant.name for mutant in mutants_of(source, "f")]
    assert names.count("return 0  ->  return 1") == 1
    assert names.count("return 0  ->  return 1  #2") == 1
    assert [mutant.name for mutant in mutants_of("x = 1\n" + source, "f")] == names


def test_of_a_class_a_method_and_a_constant():
    source = "LIMIT = 3\n\n\nclass C:\n    def f(self):\n        return 1 < 2\n\n    def g(self):\n        return 5\n"
    assert [mutant.name for mutant in mutants_of(source, "LIMIT")] == [
        "LIMIT = 3  ->  LIMIT = 4", "LIMIT = 3  ->  LIMIT = 2",
    ]  # fmt: skip
    assert {mutant.line for mutant in mutants_of(source, "C.g")} == {9}
    assert {mutant.line for mutant in mutants_of(source, "C")} == {6, 9}
    for mutant in mutants_of(source, "C"):
        ast.parse(mutant.source)
    with pytest.raises(LookupError, match=r"no C\.h in this module"):
        mutants_of(source, "C.h")
