"""The page in headless Chromium: every control by keyboard and by pointer, no error, no request that leaves it."""

from __future__ import annotations

import json

import pytest

from tests.browser import chromium
from tests.command import espsim, espsim_text

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    assert espsim_text("samples", folder / "esp")[0] == 0
    words = [folder / "esp" / "esn.pcap", "--sad", folder / "esp" / "esn.sad", "--frame", "2"]
    assert espsim_text("explain", *words, "--html", folder / "page.html")[0] == 0
    explained = json.loads(espsim("explain", *words, "--json").stdout)
    return folder / "page.html", explained


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def at(tab, page):
    """The page, freshly opened; afterwards nothing was complained of and nothing fetched."""
    tab.open(page[0])
    yield tab
    assert tab.complaints == []
    assert set(tab.requests) == {page[0].as_uri()}


def test_steps_by_keyboard_and_pointer(at, page):
    steps = [step["step"] for step in page[1]["steps"]]
    now = "document.querySelector('.step.now').dataset.name"
    assert at.ask("document.querySelectorAll('.step').length") == len(steps)
    assert at.ask(now) == steps[0]
    at.key("ArrowRight")
    assert at.ask(now) == steps[1]
    assert f"Step 2 of {len(steps)}: {steps[1]}" in at.ask("document.querySelector('#said').textContent")
    at.key("ArrowLeft")
    at.key("ArrowLeft")
    assert at.ask(now) == steps[0]
    for _ in steps:
        at.click("#next")
    assert at.ask(now) == steps[-1]
    at.click("#back")
    assert at.ask(now) == steps[-2]
    at.click("#tree li[data-step='3'] > button")
    assert at.ask(now) == steps[3]
    assert at.ask("[...document.querySelectorAll('.step')].filter(e => e.offsetParent !== null).length") == 1


def test_bytes_fields_and_tree_light_up(at, page):
    lit = "[...document.querySelectorAll('%s')].filter(e => e.classList.contains('lit')).length"
    spi = next(step for step in page[1]["steps"] if step["step"] == "ESP header")["fields"][0]
    at.point(f".dump .row:nth-of-type({spi['offset'] // 16 + 1}) i:nth-of-type({spi['offset'] % 16 + 1})")
    assert at.ask(lit % ".dump i") == 4
    assert at.ask(lit % "#tree li[data-step]") >= 3  # ESP header, lookup, AAD
    assert at.ask(lit % "tr") >= 3
    told = at.ask("document.querySelector('#told').textContent")
    assert "SPI" in told
    assert "lookup" in told
    at.click("#tree li[data-step='0'] > button")
    at.point(".step.now tr[data-at='16']")
    assert at.ask(lit % ".dump i") == 4  # the destination
    at.ask("document.querySelector('.dump i').focus()")
    at.key("ArrowDown")
    at.key("ArrowRight")
    assert at.ask("[...document.querySelectorAll('.dump i')].indexOf(document.activeElement)") == 17
    at.ask("document.querySelectorAll('.dump i')[20].focus()")
    at.key("Enter")
    assert at.ask("document.querySelector('.step.now').dataset.name") == "ESP header"
    assert at.ask("document.querySelectorAll('.tag').length") > 5


def test_the_four_questions(at, page):
    said = "document.querySelector('#%s-says').textContent"
    at.click("#flip-on")
    assert "ICV" in at.ask(said % "flip")
    assert at.ask("document.querySelectorAll('.flipped').length") == 1
    at.click(".dump .row:nth-of-type(2) i:nth-of-type(5)")  # the SPI's first byte
    assert "Seen by: lookup" in at.ask(said % "flip")
    assert "XfrmInNoStates moves" in at.ask(said % "flip")
    at.click("#flip-on")
    assert at.ask("document.querySelectorAll('.flipped').length") == 0
    at.click("input[value='very late']")
    assert "REPLAY_TOO_OLD" in at.ask(said % "twice")
    at.click("#twice-esn")
    assert "INTEGRITY" in at.ask(said % "twice")
    assert at.ask("document.querySelectorAll('#twice-draw svg rect').length") > 1
    at.ask("document.querySelector('#mask-bits').focus()")
    before = at.ask(said % "mask")
    at.key("ArrowRight")
    assert at.ask(said % "mask") != before
    assert "9 bits, 512 slots" in at.ask(said % "mask")
    assert at.ask("document.querySelectorAll('#mask-draw svg rect').length") > 3
    shown = "document.querySelector('#who-%s').offsetParent !== null"
    assert [at.ask(shown % name) for name in ("no", "yes")] == [True, False]
    at.ask("document.querySelector('#who-dir').focus()")
    at.key(" ")
    assert [at.ask(shown % name) for name in ("no", "yes")] == [False, True]


def test_saving(at, page, tmp_path):
    at.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    for name, ident in (("explained.sad", "save-sad"), ("explained.pcap", "save-capture")):
        at.click(f"#{ident}")
        assert at.ask("document.querySelector('#saved').textContent") == f"{name} is saved"
        for _ in range(500):
            if (tmp_path / name).exists():
                break
            at.ask("new Promise(done => setTimeout(done, 20))")
    assert b"Keys hidden" in (tmp_path / "explained.sad").read_bytes()
    assert (tmp_path / "explained.pcap").read_bytes()[:4] == bytes.fromhex("4d3cb2a1")
    at.requests[:] = [address for address in at.requests if not address.startswith("blob:")]


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits(at, page, width, dark):
    at.open(page[0], width=width, dark=dark)
    assert at.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert at.picture().startswith(b"\x89PNG")
    colour = at.ask("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") is not dark


def test_every_control_has_a_name(at):
    """What a screen reader says: controls have names, headings skip no level, landmarks are there."""
    nodes = at.call("Accessibility.getFullAXTree")["nodes"]
    wanted = {"button", "checkbox", "radio", "slider", "spinbutton", "combobox", "switch", "navigation", "region"}
    named = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    controls = [(role, name) for role, name in named if role in wanted]
    assert len(controls) > 100
    assert [role for role, name in controls if not name.strip()] == []
    assert {"main", "banner", "contentinfo"} <= {role for role, _ in named}


def test_it_prints_every_step(at, page):
    at.call("Emulation.setEmulatedMedia", media="print")
    shown = "[...document.querySelectorAll('.step')].filter(e => e.offsetParent !== null).length"
    assert at.ask(shown) == len(page[1]["steps"])
    assert at.ask("document.querySelector('#back').offsetParent") is None
    at.call("Emulation.setEmulatedMedia", media="")
