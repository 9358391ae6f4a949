"""Numbers of options: 1k, 100k and 1M where something is counted; a wrong one is one line that says what is wanted."""

from __future__ import annotations

import json

import pytest

from espsim.cli.numbers import Number, Numbers
from espsim.cli.start import answer
from espsim.core.counts import parse_count
from espsim.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("1000", 1000),
        ("1k", 1000),
        ("100K", 100_000),
        ("1M", 10**6),
        ("2m", 2 * 10**6),
        ("-3", -3),
        (" 7 ", 7),
    ],
)
def test_read(text: str, number: int):
    assert parse_count(text) == number


@pytest.mark.parametrize("text", ["", "k", "1kk", "1.5k", "1e3", "0x10", "1_000", "9" * 5000, "٣", "1G", "--1", "nan"])
def test_refused(text: str):
    with pytest.raises(ValueError, match=r".*"):
        parse_count(text)
    with pytest.raises(InputError, match=r"is not a number of SAs from 1 to 1,000,000$") as refusal:
        Number(1, 1_000_000, "a number of SAs").convert(text, None, None)
    assert len(str(refusal.value)) < 200


def test_lists():
    kind = Numbers(1, 10**6, "a size", words=("imix",))
    assert kind.convert("1k,imix,1000,2", None, None) == [1000, "imix", 2]
    for text in ("", "1,", "IMIX", "0"):
        with pytest.raises(InputError, match=r"is not a size from 1 to 1,000,000"):
            kind.convert(text, None, None)


def test_spi_counts_in_thousands(capsys):
    results = []
    for sas, span in (("1000", "256-65535"), ("1k", "0x100-0xffff")):
        assert answer(["spi", "--sas", sas, "--range", span, "--model", "intel-82599-linux", "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0] == results[1]
    assert results[0]["sas"] == 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["spi", "--range", "1-2", "--sas", "1x"], "--sas: '1x' is not a number of SAs from 1 to 10,000,000"),
        (["spi", "--range", "1-2", "--sas", "11M"], "--sas: '11M' is not a number of SAs from 1 to 10,000,000"),
        (["spi", "--range", "1k-x", "--sas", "1", "--model", "sw-linux-xfrm"], "--range: give MIN-MAX"),
        (["audit", "-", "--list", "-1"], "--list: '-1' is not a whole number from 0 to 1,000,000,000"),
        (["decap", "x", "-o", "y", "--sad", "z", "--workers", "1k"], "--workers: '1k' is not a number of workers"),
        (["bench", "--sas", "1,1q"], "--sas: '1q' is not a number of SAs from 1 to 20,000,000"),
        (["xfrm", "-", "--seed", "9" * 5000], "--seed: '999999999999999999999999999999...(4940 characters)..."),
    ],
)  # fmt: skip
def test_a_wrong_number_is_one_line(capsys, words, said):
    assert answer(words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err or "<<Keys hidden>>" in err
