"""Every known version of libIPSec_MB that is there, whichever of them the engine takes by itself."""

from __future__ import annotations

import ctypes
import types

import pytest

from espsim.aead.engine import EngineError, WrongEngineError
from espsim.aead.proof import prove

module = pytest.importorskip("espsim.aead.native.ipsec_mb")


@pytest.fixture(params=module.LIBRARIES)
def library(request):
    try:
        module.IpsecMbEngine(request.param)
    except WrongEngineError:
        raise
    except EngineError as error:
        pytest.skip(str(error))
    return request.param


def test_it_proves_itself(library):
    engine = module.IpsecMbEngine(library)
    assert engine.version.startswith(f"intel-ipsec-mb {library[-1]}.")
    assert engine.isa in {"SSE", "AVX", "AVX2", "AVX512"}
    assert prove(engine) > 500


def test_a_pointer_to_a_part_of_a_function_is_refused(library, monkeypatch):
    """aes_gcm_enc_128_update_sse begins like aes_gcm_enc_128_sse."""
    for version, layout in [*module.LAYOUTS.items()]:
        update = ((328, "aes_gcm_enc_128_"), *layout.pointers[1:])
        monkeypatch.setitem(module.LAYOUTS, version, layout._replace(pointers=update))
    with pytest.raises(WrongEngineError, match=r"has aes_gcm_enc_128_update_\w+ where aes_gcm_enc_128_\* should be"):
        module.IpsecMbEngine(library)


def test_a_function_of_another_key_size_is_refused(library, monkeypatch):
    """aes_gcm_enc_192_* where aes_gcm_enc_128_* should be."""
    for version, layout in [*module.LAYOUTS.items()]:
        (_, first), (offset, _), *rest = layout.pointers
        monkeypatch.setitem(
            module.LAYOUTS, version, layout._replace(pointers=((offset, first), layout.pointers[1], *rest))
        )
    with pytest.raises(WrongEngineError, match=r"has aes_gcm_enc_192_\w+ where aes_gcm_enc_128_\* should be"):
        module.IpsecMbEngine(library)


@ctypes.CFUNCTYPE(None)
def _one():
    """A function with two names."""


@ctypes.CFUNCTYPE(None)
def _other():
    """Another function."""


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("gmac_update_128_", True),
        ("gmac_update_192_", False),  # another function has that name
        ("gmac_update_384_", False),  # nothing has that name
        ("gcm_enc_128_", False),
        ("", False),
    ],
)
def test_one_function_may_have_the_names_of_several_key_sizes(expected, found):
    """As the GMAC update of 2.0 for AVX512 with VAES: dladdr says one of its names."""
    names = {"gmac_update_128_avx": _one, "gmac_update_256_avx": _one, "gmac_update_192_avx": _other}
    manager = object.__new__(module._Manager)
    manager._lib = types.SimpleNamespace(**names, gcm_enc_128_update_avx=_one)
    pointer = ctypes.cast(_one, ctypes.c_void_p).value
    assert manager._has_too(pointer, "gmac_update_256_avx", expected) is found
    assert not manager._has_too(pointer, "gmac_update_avx", expected)


def test_a_key_that_needs_more_memory_is_refused(library, monkeypatch):
    for version, layout in [*module.LAYOUTS.items()]:
        monkeypatch.setitem(module.LAYOUTS, version, layout._replace(key_size=320))
    with pytest.raises(WrongEngineError, match="a key needs more than 320 bytes"):
        module.IpsecMbEngine(library)


def test_the_next_library_is_taken_where_one_is_not_there(library):
    assert module.IpsecMbEngine("libnothing.so.9", library).version == module.IpsecMbEngine(library).version
    with pytest.raises(EngineError, match=r"^libnothing.so.9 cannot be loaded: .*; libnothing.so.8 cannot be loaded"):
        module.IpsecMbEngine("libnothing.so.9", "libnothing.so.8")
