"""Native engines with a broken library: never used, reported, and exit status 2 if named.

The library's functions are called by address, so another function replaces one: it calls the real one and then
does what a broken build might do.
"""

from __future__ import annotations

import copy
import ctypes
import json
from typing import Any

import pytest
from click.testing import CliRunner

from espsim.aead import engines
from espsim.aead.batch import SlotKeys
from espsim.aead.engine import EngineError, WrongEngineError
from espsim.aead.proof import prove
from espsim.aead.suites import Algorithm, resolve
from espsim.cli.main import main
from tests.support import CAPTURES, usable

INT64 = ctypes.c_int64


def with_function(engine, place, arguments, make):
    """A copy of an engine that calls `make(real function)` where the library's table has its `place`th function."""
    broken = copy.copy(engine)
    broken._functions = engine._functions.copy()
    kind = ctypes.CFUNCTYPE(ctypes.c_int, *[INT64] * arguments)
    callback = kind(make(kind(int(engine._functions[place]))))
    broken._functions[place] = ctypes.cast(callback, ctypes.c_void_p).value
    broken.kept = callback
    return broken


def with_functions(engine, makers):
    """A copy of `libcrypto` with other functions: by offset in a suite's table, what makes one and how many arguments.

    Where the slots are for opening; a suite without the function keeps none.
    """
    broken = copy.copy(engine)
    tables, kept = engine._tables, []

    def patched(slots, opening):
        found = tables(slots, opening)
        for table in found.values() if opening else ():
            for offset, (make, arguments) in makers.items():
                if table[offset // 8]:
                    kind = ctypes.CFUNCTYPE(ctypes.c_int, *[INT64] * arguments)
                    kept.append(kind(make(kind(int(table[offset // 8])))))
                    table[offset // 8] = ctypes.cast(kept[-1], ctypes.c_void_p).value
        return found

    broken._tables, broken.kept = patched, kept
    return broken


def libcrypto_that_accepts_all():
    """A cipher's `final`, which compares the tags, always succeeds."""
    from espsim.aead.native.libcrypto_rows import FINAL

    def make(real):
        def final(context, out, length, size):
            real(context, out, length, size)
            return 1

        return final

    return with_functions(usable("libcrypto"), {FINAL: (make, 4)})


def libcrypto_that_leaves_plaintext():
    """What is decrypted a second time after a wrong tag, to put the ciphertext back, is left as it is."""
    from espsim.aead.native.libcrypto_rows import FINAL, UPDATE

    refused: list[int] = []

    def make_final(real):
        def final(context, out, length, size):
            answer = real(context, out, length, size)
            refused[:] = [context] if answer != 1 else []
            return answer

        return final

    def make_update(real):
        def update(context, out, length, room, data, size):
            if out and refused == [context]:
                refused.clear()
                return 1
            return real(context, out, length, room, data, size)

        return update

    return with_functions(usable("libcrypto"), {FINAL: (make_final, 4), UPDATE: (make_update, 6)})


def libcrypto_with_a_broken_hash():
    """SHA256_Final writes zeros: every HMAC-SHA-256 is the same."""
    from espsim.aead.native.libcrypto import _DIGESTS

    def final(digest, state):
        ctypes.memset(digest, 0, 32)
        return 1

    broken: Any = copy.copy(usable("libcrypto"))
    broken.kept = ctypes.CFUNCTYPE(ctypes.c_int, INT64, INT64)(final)
    broken._hashes = broken._hashes.copy()
    broken._hashes[_DIGESTS.index("sha256"), 1] = ctypes.cast(broken.kept, ctypes.c_void_p).value
    return broken


def ipsec_mb_that_accepts_all():
    """The tag that is compared with the packet's is the packet's own."""
    from espsim.aead.native.ipsec_mb_rows import OPEN_GCM

    def make(real):
        def decrypt(key, context, out, data, size, iv, extra, extra_size, tag, tag_size):
            real(key, context, out, data, size, iv, extra, extra_size, tag, tag_size)
            ctypes.memmove(tag, data + size, tag_size)
            return 0

        return decrypt

    return with_function(usable("ipsec-mb"), OPEN_GCM // 8, 10, make)


def ipsec_mb_that_leaves_plaintext():
    """The second decryption of a row, which puts the ciphertext back, does nothing."""
    from espsim.aead.native.ipsec_mb_rows import OPEN_GCM

    last: list[int] = []

    def make(real):
        def decrypt(key, context, out, data, size, iv, extra, extra_size, tag, tag_size):
            if last == [data]:
                last.clear()
                return 0
            last[:] = [data]
            return real(key, context, out, data, size, iv, extra, extra_size, tag, tag_size)

        return decrypt

    return with_function(usable("ipsec-mb"), OPEN_GCM // 8, 10, make)


BROKEN = [
    (libcrypto_that_accepts_all, "accepts a forged packet of rfc4106"),
    (libcrypto_that_leaves_plaintext, "does not put back a forged packet of rfc4106"),
    (libcrypto_with_a_broken_hash, "opens Linux crypto/testmgr.h, authenc.hmac.sha256.,cbc.aes.. wrongly"),
    (ipsec_mb_that_accepts_all, "accepts a forged packet of rfc4106"),
    (ipsec_mb_that_leaves_plaintext, "does not put back a forged packet of rfc4106"),
]


@pytest.fixture(params=BROKEN, ids=lambda b: b[0].__name__)
def broken(request):
    return request.param[0](), request.param[1]


def test_a_broken_library_fails_its_proof(broken):
    engine, says = broken
    with pytest.raises(WrongEngineError, match=says):
        prove(engine)


def decap(tmp_path, *options):
    capture = json.loads((CAPTURES / "manifest.json").read_text())["captures"][2]
    assert capture["sas"][0]["linux_alg"] == "rfc4106(gcm(aes))"
    sad = tmp_path / "sad.txt"
    sad.write_text("".join(sa["ip_xfrm_state"] + "\n" for sa in capture["sas"]))
    args = ["decap", CAPTURES / capture["file"], "-o", tmp_path / "out.pcap", "--sad", sad, "--json", *options]
    return CliRunner().invoke(main, list(map(str, args)))


def test_a_broken_engine_is_loud(broken, only, tmp_path):
    """As a user meets it: `auto` says so and takes another; by name it is refused; `engines` shows it."""
    engine, _ = broken
    only(**{"ipsec_mb": EngineError("not here"), engine.name.replace("-", "_"): engine})
    result = decap(tmp_path)
    assert result.exit_code == 0
    assert result.stderr.count(f"espsim: WARNING: engine {engine.name} is there, but what it does is wrong") == 1
    told = json.loads(result.stdout)
    assert told["engine"] != engine.name
    assert told["delivered"] > 0
    assert decap(tmp_path).stderr == ""  # once a process
    (tmp_path / "out.pcap").unlink()
    result = decap(tmp_path, "--engine", engine.name)
    assert f"{engine.name}: the engine cannot be used: it is there, but what it does is wrong" in str(result.exception)
    assert not (tmp_path / "out.pcap").exists()
    rows = json.loads(CliRunner().invoke(main, ["engines", "--json"]).output)["engines"]
    assert {row["engine"]: row["state"] for row in rows}[engine.name] == "wrong"


@pytest.mark.parametrize("name", ["ipsec-mb", "libcrypto"])
def test_the_real_library_passes_with_a_function_that_only_passes_on(name):
    """Replacing a function of the table by itself changes nothing."""
    engine = usable(name)
    calls = []

    def make(real):
        def through(*arguments):
            calls.append(arguments)
            return real(*arguments)

        return through

    from espsim.aead.native import ipsec_mb_rows, libcrypto_rows

    if name == "ipsec-mb":
        same = with_function(engine, ipsec_mb_rows.OPEN_GCM // 8, 10, make)
    else:
        same = with_functions(engine, {libcrypto_rows.FINAL: (make, 4)})
    assert prove(same) == engines.find(name).proved
    assert calls


def test_a_provider_without_the_cipher_or_with_half_of_it_is_no_engine(monkeypatch):
    from espsim.aead.native import libcrypto
    from espsim.aead.native.libcrypto import LibcryptoEngine

    keys = resolve((Algorithm("aead", "rfc4106(gcm(aes))", bytes(20), 128),))
    engine, real = LibcryptoEngine(), libcrypto._functions
    monkeypatch.setattr(libcrypto, "_functions", lambda lib, provider, name: real(lib, provider, name + "-X"))
    with pytest.raises(EngineError, match=r"lacks functions \[1, 2, 3, 4, 5, 7, 10\] of AES-128-GCM"):
        engine.opener([SlotKeys(keys)])
    monkeypatch.setattr(
        libcrypto, "_functions", lambda *of: {n: at for n, at in real(*of).items() if n != libcrypto._FINAL}
    )
    with pytest.raises(EngineError, match=r"lacks functions \[5\] of AES-128-GCM"):
        engine.opener([SlotKeys(keys)])
