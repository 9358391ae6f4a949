"""Faults of a scenario beyond its shape: all are reported at once, each with its line, its key and what is legal."""

from __future__ import annotations

import pytest

from espsim.core.errors import InputErrors
from espsim.scenario.schema import parse_scenario

KEY = "0123456789abcdef0123456789abcdef01234567"
TEXT = f'''schema = 1
name = "x"
question = "q"
source = "none"
policies = ["rfc2401", "rfc4301"]

[[sa]]
name = "a"
line = "src 10.0.0.1 dst 10.0.0.2 proto esp spi 0x100 aead rfc4106(gcm(aes)) 0x{KEY} 128"

[[step]]
do = "ask"
lines = """
ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=0x100 max=0x100 $more

# a comment
DELSA dst=10.0.0.2 proto=esp spi=0x100
"""

[[step]]
do = "ask"
lines = "GETSA dst=10.0.0.2 proto=esp spi=0x100"

[[variant]]
name = "one"
options = ["acquire-uapi"]
words = {{ more = "" }}
  [variant.expect]
  rfc2401 = "OK x3"

[[variant]]
name = "two"
words = {{ more = "dir=in" }}
'''


def said(*changes: tuple[str, str]) -> list[str]:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    with pytest.raises(InputErrors) as caught:
        parse_scenario(text, "f")
    return [str(error) for error in caught.value.errors]


def test_a_good_one_is_good():
    assert len(parse_scenario(TEXT, "f").variants) == 2


def test_all_at_once_by_line():
    lines = said(
        ('"rfc4301"]', '"rfc430"]'), (f"0x{KEY}", f"0x{KEY[1:]}"), ("proto=esp min", "protoo=esp min"),
        ("DELSA", "DELA"), ("GETSA dst", "GETSA dist"), ("acquire-uapi", "acquire"), ("  rfc2401 =", "  rfc241 ="),
    )  # fmt: skip
    assert [line.split(": ")[0] for line in lines] == ["f:5", "f:9", "f:14", "f:17", "f:22", "f:26", "f:29"]
    words = ["did you mean rfc4301", "odd hex length", "did you mean proto", "known: ALLOCSPI", "did you mean dst"]
    words += ["did you mean acquire-uapi?", "did you mean rfc2401"]
    assert all(word in line for word, line in zip(words, lines, strict=True)), lines
    assert KEY[1:] not in "".join(lines)


def test_a_word_of_one_variant_is_checked():
    assert said(('"dir=in"', '"dir=inn"'))[0].startswith("f:14: step.0.lines: unknown dir")


def test_lines_beside_the_quotes_and_in_one_string():
    assert said(('"""\nALLOCSPI', '"""ALLOCSPI'), ("DELSA", "DELA"))[0].startswith("f:16: ")
    assert said(('"GETSA', r'"DUMP\nGETA'))[0].startswith("f:22: ")
