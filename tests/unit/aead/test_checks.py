"""The table of `espsim engines --suites`: every check that it claims exists, and meets the algorithms that it names."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from espsim.aead.checks import PEERS, SPECIFIED, by_suite, documents, parts, rows
from espsim.aead.engines import survey
from espsim.aead.known_answers import KNOWN_ANSWERS, suites
from espsim.aead.linux_names import NOT_RUN
from espsim.aead.suites import AEADS, CIPHERS, HASHES, resolve
from espsim.cli.main import main
from tests.support import CAPTURES, sa_of

ROOT = Path(__file__).parents[3]
EVERY = {*AEADS, *CIPHERS, *HASHES}


def engines():
    return [found.engine for found in survey() if found.engine is not None]


def of_captures(producer):
    captures = json.loads((CAPTURES / "manifest.json").read_text())["captures"]
    made = [sa_of(sa) for c in captures if c["producer"].startswith(producer) for sa in c["sas"]]
    return {part for sa in made if sa.keys is not None for part in parts(sa.keys)}


def of_words(words):
    return {name for name in EVERY if any(f"'{name}'" in word or f'"{name}"' in word for word in words)}


def of_scapy():
    receiver = importlib.import_module("tests.interop.scapy_receiver")
    return {*receiver.CIPHERS, *(name for name, _ in receiver.HASHES)}


def of_tshark():
    return of_words(importlib.import_module("tests.interop.test_tshark").SUITES.values())


def of_libgcrypt():
    module = importlib.import_module("tests.interop.test_libgcrypt")
    kinds = [mark.args[1] for mark in module.test_aeads.pytestmark]
    assert [False, True] in kinds  # explicit and implicit
    return {*module.CIPHER_SUITES, *module.MACS, *module.AEAD_SUITES, *(f"iiv({name})" for name in module.AEAD_SUITES)}


MEETS = {
    "scapy": of_scapy, "tshark": of_tshark, "libgcrypt": of_libgcrypt,
    "Linux": lambda: of_captures("Linux"), "strongSwan": lambda: of_captures("strongSwan"),
}  # fmt: skip


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peers_test_meets_the_algorithms_that_the_table_names(peer):
    assert (ROOT / peer.test).is_file()
    assert MEETS[peer.name]() == peer.algorithms


def test_scapy_fails_none_of_the_cases_of_algorithms_but_short_gcm():
    pytest.importorskip("scapy")
    module = importlib.import_module("tests.interop.test_kit_scapy")
    failed = [pattern for patterns in module.FAILS.values() for pattern in patterns if pattern.startswith("algorithms")]
    assert failed == ["algorithms/rfc4106-gcm-aes-*-64", "algorithms/rfc4106-gcm-aes-*-96"]


def test_every_algorithm_is_specified_and_checked_by_someone_else():
    assert SPECIFIED.keys() == EVERY
    found = rows(engines())
    assert [row.name for row in found] == [*AEADS, *CIPHERS, *HASHES]
    assert [row.name for row in found if not row.peers] == []
    # Of RFC 8750 and of HMAC-SHA-384 in ESP nothing is published; the NULLs have nothing to publish.
    without = {name for name in EVERY if name.startswith("iiv(") or "null" in name} | {"hmac(sha384)"}
    assert {row.name for row in found if not row.published} == without


def test_an_engine_serves_a_suite_where_it_serves_its_parts():
    usable = engines()
    served = {(row.name, engine) for row in rows(usable) for engine in row.engines}
    table = by_suite(usable)
    for keys in map(resolve, suites()):
        for engine in usable:
            both = all((part, engine.name) in served for part in parts(keys))
            assert both == engine.supports(keys) == (engine.name in table[keys.suite.name]), keys.suite.name


def test_documents_are_named_once():
    assert documents(a.source for a in KNOWN_ANSWERS if a.source.startswith("RFC 3")) == [
        "RFC 3610", "RFC 3686", "RFC 3713", "RFC 3566",
    ]  # fmt: skip


def test_the_command_prints_every_algorithm_and_what_is_not_run():
    text = CliRunner().invoke(main, ["engines", "--suites"], env={"COLUMNS": "200"}).stdout
    assert all(name in text for name in (*EVERY, *NOT_RUN))
    told = json.loads(CliRunner().invoke(main, ["engines", "--suites", "--json"]).stdout)
    assert {row["name"] for row in told["algorithms"]} == EVERY
    ctr = next(row for row in told["suites"] if row["suite"] == "rfc3686(ctr(aes))+xcbc(aes)")
    assert (ctr["auto"], ctr["engines"]) == ("cryptography", ["cryptography"])
    assert told["not_run"] == list(NOT_RUN)
