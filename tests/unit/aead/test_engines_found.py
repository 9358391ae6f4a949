"""Which engines are used: an engine that is missing, of another version or wrong is named, skipped, and never used."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from espsim.aead import engines
from espsim.aead.batch import DONE, INTEGRITY
from espsim.aead.cryptography_batch import CryptographyBatch
from espsim.aead.engine import EngineError
from espsim.aead.known_answers import KNOWN_ANSWERS, prove
from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.core.verdict import Verdict
from tests.support import vectors

pytestmark = pytest.mark.xdist_group("engines")


class Spoilt(CryptographyBatch):
    """Does what `spoil` says to each batch after the work is done."""

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


@pytest.mark.parametrize("verb", ["open", "seal"])
@pytest.mark.parametrize("spoil", [flip_plaintext, accept_forgeries, write_past])
def test_an_engine_that_answers_wrongly_is_not_used(verb, spoil):
    if verb == "seal" and spoil is accept_forgeries:
        pytest.skip("sealing refuses nothing")
    with pytest.raises(EngineError, match=r"^spoilt 1\.0"):
        prove(Spoilt(verb, spoil))


def test_a_sound_engine_is_proved_on_every_suite():
    assert prove(Spoilt("open", lambda *columns: None)) > 1000
    assert prove(CryptographyBatch()) == 2 * len(KNOWN_ANSWERS)


def test_known_answers_are_the_published_ones():
    published = set()
    for name in ("draft_mcgrew_gcm_test_01", "rfc7634_appendix_a", "linux_testmgr_authenc_cbc"):
        published |= {(v["packet"], v["plaintext"]) for v in vectors(f"{name}.json")["vectors"]}
    assert {(a.packet.hex(), a.plaintext.hex()) for a in KNOWN_ANSWERS} <= published


def test_answers_are_verdicts():
    from espsim.aead import batch

    assert (batch.DONE, batch.TRUNCATED, batch.INTEGRITY) == (
        Verdict.DELIVERED, Verdict.TRUNCATED, Verdict.INTEGRITY
    )  # fmt: skip
    assert not {batch.WAITING, batch.BROKEN} & set(Verdict)


@pytest.fixture
def only(monkeypatch):
    """Make engines load as told: name to engine, or to the error that loading gives."""

    def tell(**answers):
        def make(name):
            answer = answers.get(name.replace("-", "_"), CryptographyBatch())
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(engines, "_make", make)
        engines.find.cache_clear()
        engines._fastest.cache_clear()

    yield tell
    monkeypatch.undo()
    engines.find.cache_clear()
    engines._fastest.cache_clear()


def test_auto_skips_what_is_missing_or_wrong(only):
    only(ipsec_mb=EngineError("libIPSec_MB.so.1 cannot be loaded: gone"), libcrypto=Spoilt("open", accept_forgeries))
    assert engines.engine_by_name("auto").name == "cryptography"
    assert [f.name for f in engines.survey() if f.engine is None] == ["ipsec-mb", "libcrypto"]
    with pytest.raises(InputError, match=r"ipsec-mb: the engine cannot be used: libIPSec_MB.so.1 cannot be loaded"):
        engines.engine_by_name("ipsec-mb")
    with pytest.raises(InputError, match=r"spoilt 1\.0 opens"):
        engines.engine_by_name("libcrypto")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match="rot13: no such engine; there are auto, ipsec-mb, libcrypto, cryptography"):
        engines.engine_by_name("rot13")


def test_the_command_says_what_is_there_and_what_is_not(only):
    only(ipsec_mb=EngineError("libIPSec_MB.so.1 cannot be loaded: gone"), libcrypto=EngineError("too old"))
    text = CliRunner().invoke(main, ["engines"]).output
    assert "ipsec-mb: cannot be used: libIPSec_MB.so.1 cannot be loaded: gone" in text
    assert "libipsec-mb1" in text
    assert "auto: cryptography" in text
    told = json.loads(CliRunner().invoke(main, ["engines", "--json"]).output)
    assert told["auto"] == "cryptography"
    assert {e["engine"]: e["why"] for e in told["engines"]} == {
        "ipsec-mb": "libIPSec_MB.so.1 cannot be loaded: gone", "libcrypto": "too old", "cryptography": None
    }  # fmt: skip


def native(name):
    found = engines.find(name)
    if found.engine is None:
        pytest.skip(found.why)
    return type(found.engine)


@pytest.mark.parametrize("name", ["ipsec-mb", "libcrypto"])
def test_a_library_that_is_missing_or_another_one(name):
    kind = native(name)
    with pytest.raises(EngineError, match=r"^libnothing.so.9 cannot be loaded"):
        kind("libnothing.so.9")
    with pytest.raises(EngineError, match=r"^libm.so.6 cannot be loaded"):
        kind("libm.so.6")


def test_ipsec_mb_is_not_called_where_the_layout_is_another(monkeypatch):
    from espsim.aead import ipsec_mb_engine as module

    kind = native("ipsec-mb")
    (version, layout), *_ = module.LAYOUTS.items()
    monkeypatch.setitem(module.LAYOUTS, version, tuple((at + 8, name) for at, name in layout))
    with pytest.raises(EngineError, match=r"has aes_gcm_enc_192_\w+ where aes_gcm_enc_128_\* should be"):
        kind()
    monkeypatch.delitem(module.LAYOUTS, version)
    with pytest.raises(EngineError, match=r"known: $"):
        kind()


def test_an_old_libcrypto_is_refused(monkeypatch):
    from espsim.aead import libcrypto_engine as module

    kind = native("libcrypto")
    monkeypatch.setattr(module, "OLDEST", 0xF0000000)
    with pytest.raises(EngineError, match="too old"):
        kind()


def test_no_keys_in_a_repr():
    for answer in KNOWN_ANSWERS:
        for algorithm in answer.algorithms:
            assert algorithm.key.hex()[:16] not in repr(answer)
