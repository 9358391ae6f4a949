"""`espsim audit` leaves the interpreter's garbage collector as it found it."""

from __future__ import annotations

import gc

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.core.errors import InputError

SA = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel replay-window 64 aead rfc4106(gcm(aes)) 0x{k} 128\n"


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(("text", "error"), [(SA.format(k="07" * 20), None), ("", InputError), ("src", InputError)])
def test_the_collector_is_as_it_was(tmp_path, enabled, text, error):
    dump = tmp_path / "dump"
    dump.write_text(text)
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        result = CliRunner().invoke(main, ["audit", str(dump), "--model", "sw-linux-xfrm"])
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()
    assert isinstance(result.exception, error) if error else result.exit_code == 0
