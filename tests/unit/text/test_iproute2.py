"""What `ip xfrm state` of iproute2 6.1 itself prints and takes, where that program is installed."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espsim.sad.association import SecurityAssociation
from espsim.text.show import format_dump, format_sa_line
from tests.unit.text.sa_strategies import associations
from tests.unit.text.xfrm_netlink import newsa

IP = shutil.which("ip", path="/usr/bin:/bin:/usr/sbin:/sbin")
VERSION = subprocess.run([IP, "-V"], capture_output=True, text=True, check=False).stdout if IP else ""

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif("iproute2-6.1" not in VERSION, reason="iproute2 6.1 is not installed"),
]


def printed(path: Path, sas: list[SecurityAssociation], *options: str) -> str:
    path.write_bytes(b"".join(newsa(sa) for sa in sas))
    run = subprocess.run(
        [str(IP), *options, "xfrm", "monitor", "file", path], capture_output=True, text=True, check=True
    )
    return run.stdout


@given(st.lists(associations(running=True), min_size=20, max_size=20))
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_format_dump_is_what_iproute2_prints(tmp_path_factory: pytest.TempPathFactory, sas: list[SecurityAssociation]):
    path = tmp_path_factory.mktemp("xfrm") / "messages"
    assert printed(path, sas) == "".join(format_dump(sa) for sa in sas)
    assert printed(path, sas, "-s") == "".join(format_dump(sa, stats=True) for sa in sas)


@given(associations(proto=50))
@settings(max_examples=40, deadline=None)
def test_iproute2_takes_our_lines(sa: SecurityAssociation):
    """It gets as far as the kernel (exit status 2), in a network namespace of its own."""
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    # What 6.1 has no words for, and what it refuses beside ESP.
    sa = replace(sa, dir=None, pcpu=None, coa=None, window=sa.window or 64)
    if sa.offload is not None:
        sa = replace(sa, offload=replace(sa.offload, packet=False))
    line = shlex.split(format_sa_line(sa, verb="add"))
    run = subprocess.run(["unshare", "-rn", str(IP), *line[1:]], capture_output=True, text=True, check=False)
    assert run.returncode in (0, 2), run.stderr
