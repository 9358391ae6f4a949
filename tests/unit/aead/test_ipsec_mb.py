"""Every known version of libIPSec_MB that is there, whichever of them the engine takes by itself."""

from __future__ import annotations

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


def test_a_key_that_needs_more_memory_is_refused(library, monkeypatch):
    for version, layout in [*module.LAYOUTS.items()]:
        monkeypatch.setitem(module.LAYOUTS, version, layout._replace(key_size=256))
    with pytest.raises(WrongEngineError, match="a key needs more than 256 bytes"):
        module.IpsecMbEngine(library)


def test_the_next_library_is_taken_where_one_is_not_there(library):
    assert module.IpsecMbEngine("libnothing.so.9", library).version == module.IpsecMbEngine(library).version
    with pytest.raises(EngineError, match=r"^libnothing.so.9 cannot be loaded: .*; libnothing.so.8 cannot be loaded"):
        module.IpsecMbEngine("libnothing.so.9", "libnothing.so.8")
