"""`espsim run --live`: the thread's scenarios on this machine's kernel, beside the model of that kernel."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.scenario import live
from espsim.xfrm.live import unavailable

pytestmark = pytest.mark.interop
WHY = unavailable()
needs_a_kernel = pytest.mark.skipif(WHY is not None, reason=f"no live kernel: {WHY}")


def invoke(*args):
    return CliRunner().invoke(main, ["run", *args], catch_exceptions=False)


@needs_a_kernel
def test_larval_scenarios_agree():
    result = invoke("s01", "s03", "s08", "s11b", "s14", "s16", "s17", "s18", "--policy", "rfc2401", "--live", "--json")
    report = json.loads(result.stdout)
    if not report["live"]["agree"]:
        pytest.skip(f"this kernel was not asked: {report['live']['not_asked']}")
    assert result.exit_code == 0, result.stdout
    assert report["live"]["differ"] == 0
    cells = [cell for cell in report["cells"] if cell["policy"] == "live"]
    assert len(cells) == report["live"]["agree"]
    assert all(cell["as_expected"] for cell in cells)


@needs_a_kernel
def test_what_it_cannot_do_is_said_once_and_is_no_agreement():
    report = json.loads(invoke("s10", "s22", "s23", "s27", "--policy", "rfc2401", "--live", "--json").stdout)
    asked = report["live"]["agree"] + report["live"]["differ"]
    reasons = [item["reason"] for item in report["live"]["not_asked"]]
    assert len(set(reasons)) == len(reasons)
    left = sum(len(item["cells"]) for item in report["live"]["not_asked"])
    assert asked + left == 1 + 2 + 2 + 2
    assert asked == 0  # packets, policies and devices are not asked of a kernel
    text = invoke("s10", "s27", "--policy", "rfc2401", "--live").output
    assert "0 asked, 0 agree, 0 differ" in text
    assert "not asked, policies are not set: s10" in text


@needs_a_kernel
def test_a_difference_is_no(monkeypatch):
    monkeypatch.setattr(live, "kernel_of", lambda release: "rfc2401")  # a model of another kernel
    result = invoke("s01", "--policy", "rfc4301", "--live")
    if "0 asked" in result.output:
        pytest.skip("this kernel was not asked")
    assert result.exit_code == 1
    assert "differ" in result.output


def test_where_it_cannot_run(monkeypatch):
    monkeypatch.setattr(live, "unavailable", lambda: "it needs root, to make a network namespace")
    with pytest.raises(InputError, match="--live cannot run here: it needs root"):
        invoke("s01", "--live")
