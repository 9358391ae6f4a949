"""Each report in headless Chromium: it fits and prints, light and dark, fetches nothing, and axe-core finds nothing."""

from __future__ import annotations

import pytest

from tests.browser import axe_core, chromium
from tests.command import espsim_text
from tests.unit.cli.test_tables import DUMP

pytestmark = pytest.mark.long

COMMANDS = {
    "run": ("run", "replay", "duplicate-spi", "--model", "marvell-cn10k-dpdk", "--assume", "model", "--trace"),
    "thread": ("run", "--thread"),
    "faults": ("run", "replay", "--loss", "20", "--duplicate", "50"),
    "storm": ("run", "rotation", "--set", "nodes=32"),
    "default": ("run", "default"),
    "android-and-marvell": ("run", "android-and-marvell"),
    "audit": ("audit", "{dump}", "--model", "marvell-cn10k-dpdk", "--model", "intel-82599-linux"),
    "window": ("window", "{folder}/esn.pcap", "--sad", "{folder}/esn.sad"),
    "bench": ("bench", "lookup", "replay", "--quick", "--sas", "1000,100k"),
    "sweep": ("sweep", "report", "{sweep}"),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    assert espsim_text("samples", folder)[0] == 0
    (folder / "dump").write_text(DUMP)
    assert espsim_text("sweep", "run", "collisions", "--quick", "-o", folder / "sweep.sqlite")[0] == 0
    return {"folder": folder, "dump": folder / "dump", "sweep": folder / "sweep.sqlite"}


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("name", COMMANDS)
def test_a_report(name, places, tab):
    page = places["folder"] / f"{name}.html"
    words = [word.format(**places) for word in COMMANDS[name]]
    assert espsim_text(*words, "--html", page)[0] in (0, 1)
    tab.requests.clear()
    axe = axe_core()
    for width in (360, 1280):
        for dark in (False, True):
            tab.open(page, width=width, dark=dark)
            assert tab.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            assert (tab.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)") is not dark
            assert tab.wrong(axe) == []
    shown = "[...document.querySelectorAll('svg, table, h2')].filter(e => !e.closest('details'))"
    assert tab.ask(f"{shown}.every(e => e.getBoundingClientRect().height > 5)")
    tab.open(page, width=700)
    tab.call("Emulation.setEmulatedMedia", media="print")
    assert tab.ask("[...document.querySelectorAll('svg')].every(e => e.getBoundingClientRect().right <= 700)")
    assert tab.ask("document.querySelector('.verdict').offsetHeight") > 0
    tab.call("Emulation.setEmulatedMedia", media="")
    assert tab.complaints == []
    assert set(tab.requests) == {page.as_uri()}
