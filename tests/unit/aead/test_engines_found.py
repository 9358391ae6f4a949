"""Which engines are used: an engine that is missing, of another version or wrong is named, skipped, and never used."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from espsim.aead import engines
from espsim.aead.cryptography_batch import CryptographyBatch
from espsim.aead.engine import EngineError, WrongEngineError
from espsim.aead.known_answers import KNOWN_ANSWERS, suites
from espsim.aead.proof import prove
from espsim.aead.suites import resolve
from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.core.numbers import DONE, INTEGRITY, WAITING
from tests.support import engines_there, usable, vectors


class Spoilt(CryptographyBatch):
    """Applies `spoil` to each batch after the work is done."""

    def __init__(self, verb, spoil):
        super().__init__()
        self.version = "spoilt 1.0"
        self._verb, self._spoil = verb, spoil

    def opener(self, slots):
        return self._wrap(super().opener(slots), "open")

    def sealer(self, slots):
        return self._wrap(super().sealer(slots), "seal")

    def _wrap(self, rows, verb):
        run = getattr(rows, verb)

        def spoilt(*columns):
            run(*columns)
            if verb == self._verb:
                self._spoil(*columns)

        setattr(rows, verb, spoilt)
        return rows


def flip_plaintext(arena, esp, end, slot, seq64, result):
    arena[esp[-1] + 30] ^= 1


def accept_forgeries(arena, esp, end, slot, seq64, result):
    result[result == INTEGRITY] = DONE


def write_past(arena, esp, end, slot, seq64, result):
    arena[end[-1]] = 1


def leave_zeros(arena, esp, end, slot, seq64, result):
    for row in np.flatnonzero(result == INTEGRITY):
        arena[end[row] - 64 : end[row] - 32] = 0


@pytest.mark.parametrize(
    ("verb", "spoil", "says"),
    [
        ("open", flip_plaintext, "(opens .* wrongly|writes past its rows)"),  # one plaintext is empty
        ("seal", flip_plaintext, "seals a published packet wrongly"),
        ("open", accept_forgeries, "accepts a forged packet of"),
        ("open", write_past, "writes past its rows"),
        ("seal", write_past, "seals a published packet wrongly"),
        ("open", leave_zeros, "does not put back a forged packet of"),
    ],
)
def test_an_engine_that_answers_wrongly_fails_its_proof(verb, spoil, says):
    with pytest.raises(WrongEngineError, match=rf"^spoilt 1\.0 {says}"):
        prove(Spoilt(verb, spoil))


WITH_ICV = sorted({k.suite.name for k in map(resolve, suites()) if k.icv_length})
SPOTS = ["first byte of the ICV", "last byte of the ICV", "the byte after the ESP header"]


@pytest.mark.parametrize("suite", WITH_ICV)
@pytest.mark.parametrize("where", SPOTS)
def test_a_forgery_that_is_accepted_in_one_suite_is_found(suite, where):
    """An engine that compares all of the ICV but one byte, or does not look at the ciphertext, in one suite only."""
    real = CryptographyBatch()

    class Blind(Spoilt):
        def supports(self, keys):
            """This suite alone: the proof of the others would say nothing, and takes most of the time."""
            return keys.suite.name == suite

        def opener(self, slots):
            rows, again = super().opener(slots), real.opener(slots)
            run = rows.open

            def blind(arena, esp, end, slot, seq64, result):
                came = arena.copy()
                run(arena, esp, end, slot, seq64, result)
                for row in np.flatnonzero(result == INTEGRITY).tolist():
                    keys = slots[slot[row]].keys
                    icv = int(end[row]) - keys.icv_length
                    at = {"f": icv, "l": int(end[row]) - 1, "t": int(esp[row]) + 8}[where[0]]
                    this = slice(row, row + 1)
                    for bit in range(8):
                        tried, answer = came.copy(), np.full(1, WAITING, np.uint8)
                        tried[at] ^= 1 << bit
                        again.open(tried, esp[this], end[this], slot[this], seq64[this], answer)
                        if answer[0] == DONE:
                            result[row] = DONE

            rows.open = blind
            return rows

    with pytest.raises(WrongEngineError, match="accepts a forged packet of " + re.escape(suite)):
        prove(Blind("", None))


def test_a_sound_engine_is_proved_on_every_suite():
    assert prove(Spoilt("open", lambda *columns: None)) > 2500
    assert prove(CryptographyBatch()) > 2500


def of_parts():
    """Published answers of ciphers and MACs alone, with the header that they are given (known_answers.py)."""
    for v in vectors("rfc3686.json")["vectors"]:
        yield "00" * 8 + v["iv"] + v["ciphertext"], v["plaintext"]
    for v in vectors("rfc3713.json")["vectors"]:
        yield "00" * (8 + 16) + v["ciphertext"], v["plaintext"]
    for v in vectors("rfc3566.json")["vectors"] + vectors("rfc4493.json")["vectors"]:
        for size in (24, 32):
            yield v["message"] + v["mac"][:size], v["message"][16:]


def test_known_answers_are_the_published_ones():
    published = set()
    for name in ("draft_mcgrew_gcm_test_01", "rfc7634_appendix_a", "linux_testmgr_authenc_cbc", "linux_md5"):
        published |= {(v["packet"], v["plaintext"]) for v in vectors(f"{name}.json")["vectors"]}
    published |= set(of_parts())
    by_hand = [a for a in KNOWN_ANSWERS if "ccm" in a.algorithms[0].name]  # test_ccm_by_hand.py
    assert {(a.packet.hex(), a.plaintext.hex()) for a in KNOWN_ANSWERS if a not in by_hand} <= published


def test_auto_skips_what_is_missing_and_says_what_is_wrong(only, capsys):
    only(ipsec_mb=EngineError("libIPSec_MB.so.1 cannot be loaded: gone"), libcrypto=Spoilt("open", accept_forgeries))
    assert engines.engine_by_name("auto").name == "cryptography"
    assert engines.engine_by_name("auto").name == "cryptography"
    assert capsys.readouterr().err == (
        "espsim: WARNING: engine libcrypto is there, but what it does is wrong, so it is not used: spoilt 1.0 accepts a"
        " forged packet of rfc4106(gcm(aes)), ICV of 128 bits\n"
    )
    assert [(f.name, f.state) for f in engines.survey()] == [
        ("ipsec-mb", "not there"), ("libcrypto", "wrong"), ("cryptography", "usable")
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"ipsec-mb: the engine cannot be used: libIPSec_MB.so.1 cannot be loaded"):
        engines.engine_by_name("ipsec-mb")
    with pytest.raises(InputError, match=r"libcrypto: .* what it does is wrong: spoilt 1\.0 accepts a forged packet"):
        engines.engine_by_name("libcrypto")
    assert capsys.readouterr().err == ""


def test_auto_says_what_is_wrong_where_it_would_have_taken_it(only, capsys):
    """The engine for suites that the first one lacks: it is loaded when such a suite comes."""

    class GcmOnly(CryptographyBatch):
        def supports(self, keys):
            return "gcm" in keys.suite.name

        def with_fallback(self, fallback):
            self.fallback = fallback
            return self

        def engine_for(self, keys):
            return self if self.supports(keys) else self.fallback().engine_for(keys)

    only(ipsec_mb=GcmOnly(), libcrypto=Spoilt("open", accept_forgeries))
    auto = engines.engine_by_name("auto")
    keys = {k.suite.name: k for k in map(resolve, suites())}
    assert type(auto.engine_for(keys["rfc4106(gcm(aes))"])) is GcmOnly
    assert capsys.readouterr().err == ""
    assert type(auto.engine_for(keys["rfc4309(ccm(aes))"])) is CryptographyBatch
    assert "engine libcrypto is there, but what it does is wrong" in capsys.readouterr().err


def test_where_every_engine_is_wrong_nothing_is_used(only, capsys):
    only(**dict.fromkeys(("ipsec_mb", "libcrypto", "cryptography"), Spoilt("seal", write_past)))
    with pytest.raises(InputError, match=r"^no engine can be used; `espsim engines` says why$"):
        engines.engine_by_name("auto")
    assert len(capsys.readouterr().err.splitlines()) == 3
    result = CliRunner().invoke(main, ["engines"])
    assert result.exit_code == 0
    assert result.output.count("WRONG, never used: spoilt 1.0") == 3
    assert "auto: no engine can be used" in result.output


def test_a_proof_that_breaks_down_is_a_wrong_engine(only):
    def broken(*columns):
        raise ZeroDivisionError("of the library\nand more")

    only(libcrypto=Spoilt("open", broken))
    found = engines.find("libcrypto")
    assert (found.state, found.why) == ("wrong", "spoilt 1.0: its proof ended in ZeroDivisionError: of the library")


def test_a_library_that_says_it_lacks_a_cipher_is_not_wrong(only):
    def lacking(*columns):
        raise EngineError("OpenSSL 3.9 has no ChaCha20-Poly1305")

    only(libcrypto=Spoilt("open", lacking))
    assert engines.find("libcrypto").state == "not there"


@pytest.mark.parametrize("name", engines.ENGINES)
def test_no_engine_of_this_machine_is_wrong(name):
    """Where this fails, `espsim engines` says at what; nothing else uses a wrong engine, so nothing else may notice."""
    engines.find.cache_clear()
    assert not engines.find(name).wrong, engines.find(name).why


def test_tests_skip_what_is_not_there_and_fail_at_what_is_wrong(only):
    only(ipsec_mb=EngineError("gone"), libcrypto=Spoilt("open", accept_forgeries))
    with pytest.raises(pytest.skip.Exception, match="gone"):
        usable("ipsec-mb")
    with pytest.raises(InputError, match="wrong"):
        usable("libcrypto")
    assert engines_there() == ["libcrypto", "cryptography"]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match="rot13: no such engine; there are auto, ipsec-mb, libcrypto, cryptography"):
        engines.engine_by_name("rot13")


def test_the_command_says_what_is_there_and_what_is_not(only):
    only(ipsec_mb=EngineError("libIPSec_MB.so.1 cannot be loaded: gone"), libcrypto=EngineError("too old"))
    text = CliRunner().invoke(main, ["engines"]).output
    assert "ipsec-mb: not there: libIPSec_MB.so.1 cannot be loaded: gone" in text
    assert "libipsec-mb1" in text
    assert "auto: cryptography" in text
    told = json.loads(CliRunner().invoke(main, ["engines", "--json"]).output)
    assert told["auto"] == "cryptography"
    assert {e["engine"]: (e["state"], e["usable"], e["why"]) for e in told["engines"]} == {
        "ipsec-mb": ("not there", False, "libIPSec_MB.so.1 cannot be loaded: gone"),
        "libcrypto": ("not there", False, "too old"),
        "cryptography": ("usable", True, None),
    }


def test_the_command_says_what_is_wrong(only):
    only(ipsec_mb=EngineError("gone"), libcrypto=Spoilt("open", accept_forgeries))
    text = CliRunner().invoke(main, ["engines"]).output
    assert "libcrypto: WRONG, never used: spoilt 1.0 accepts a forged packet" in text
    assert "auto: cryptography" in text
    row = json.loads(CliRunner().invoke(main, ["engines", "--json"]).output)["engines"][1]
    assert (row["state"], row["usable"], row["version"], row["isa"], row["suites"]) == ("wrong", False, None, None, [])
    assert row["why"].startswith("spoilt 1.0 accepts a forged packet of ")


def native(name):
    return type(usable(name))


@pytest.mark.parametrize("library", ["libnothing.so.9", "libm.so.6"])
@pytest.mark.parametrize("name", ["ipsec-mb", "libcrypto"])
def test_a_library_that_is_missing_or_another_one(name, library, monkeypatch):
    kind, named = native(name), [library]
    if name == "libcrypto":
        monkeypatch.setattr(f"{kind.__module__}.LIBRARY", *named)
        named = []
    with pytest.raises(EngineError, match=rf"^{library} cannot be loaded"):
        kind(*named)


def test_ipsec_mb_is_not_called_where_the_layout_is_another(monkeypatch):
    from espsim.aead.native import ipsec_mb as module

    kind = native("ipsec-mb")
    for version, layout in [*module.LAYOUTS.items()]:
        moved = tuple((at + 8, name) for at, name in layout.pointers)
        monkeypatch.setitem(module.LAYOUTS, version, layout._replace(pointers=moved))
    with pytest.raises(WrongEngineError, match=r"has aes_gcm_enc_192_\w+ where aes_gcm_enc_128_\* should be"):
        kind()
    monkeypatch.setattr(module, "LAYOUTS", {})
    with pytest.raises(EngineError, match=r"is version [\d.]+; known: $"):
        kind()


def test_an_old_libcrypto_is_refused(monkeypatch):
    from espsim.aead.native import libcrypto as module

    kind = native("libcrypto")
    monkeypatch.setattr(module, "OLDEST", 0xF0000000)
    with pytest.raises(EngineError, match="too old"):
        kind()


def test_no_keys_in_a_repr():
    for answer in KNOWN_ANSWERS:
        for algorithm in answer.algorithms:
            assert not any(algorithm.key) or algorithm.key.hex()[:16] not in repr(answer)


def test_a_module_that_cannot_be_imported_is_loud(monkeypatch, capsys):
    """numba is a dependency: if it is broken the engine is "wrong", not "not there"."""
    import sys

    from espsim.aead import engines

    monkeypatch.setitem(sys.modules, "espsim.aead.native.libcrypto", None)
    for function in (engines.find, engines._fastest, engines._say):
        function.cache_clear()
    try:
        assert engines.find("libcrypto").wrong
        assert engines.engine_by_name("auto").name == "cryptography"
        assert "engine libcrypto is there, but what it does is wrong" in capsys.readouterr().err
    finally:
        for function in (engines.find, engines._fastest, engines._say):
            function.cache_clear()
