"""The page in headless Chromium: every control by keyboard and by pointer, no error, no request that leaves it."""

from __future__ import annotations

import json
import time

import pytest

from tests.browser import axe_core, chromium
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
    tab.requests.clear()
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
    assert at.ask(lit % ".dump i") == 4  # focus does what the pointer does: byte 17 is of the destination
    assert at.ask(lit % "#tree li[data-step]") >= 2
    at.ask("document.querySelector('.step.now tr[data-at=\"12\"]').focus()")
    assert at.ask(lit % ".dump i") == 4  # and a field lights up its bytes: the source
    at.ask("document.querySelector('.dump i').focus()")
    at.ask("document.querySelectorAll('.dump i')[20].focus()")
    at.key("Enter")
    assert at.ask("document.querySelector('.step.now').dataset.name") == "ESP header"
    tags = "[...document.querySelectorAll('.step[data-name=\"%s\"] .tag')].map(e => e.textContent)"
    assert at.ask(tags % "nonce") == ["not on the wire"]  # the salt; the IV is in the frame
    assert set(at.ask(tags % "ESN")) == {"not on the wire"}
    assert set(at.ask(tags % "inner UDP header")) == {"inside the payload"}


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


def saved(at, folder):
    """The two files that the page gives away, saved into a folder."""
    at.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    pcap = at.ask("JSON.parse(document.querySelector('#data').textContent).save.capture_name")
    for name, ident in (("explained.sad", "save-sad"), (pcap, "save-capture")):
        at.click(f"#{ident}")
        assert at.ask("document.querySelector('#saved').textContent") == f"{name} is saved"
        for _ in range(500):
            if (folder / name).exists():
                break
            time.sleep(0.02)
    at.requests[:] = [address for address in at.requests if not address.startswith("blob:")]
    return folder / pcap, folder / "explained.sad"


def test_saving(at, page, tmp_path):
    pcap, sad = saved(at, tmp_path)
    assert b"Keys hidden" in sad.read_bytes()
    assert pcap.read_bytes()[:4] == bytes.fromhex("4d3cb2a1")
    status, said, _ = espsim_text("decap", pcap, "--sad", page[0].parent / "esp" / "esn.sad", "--json")
    assert (status, json.loads(said)["delivered"]) == (0, 2)


def test_what_is_saved_opens_with_what_is_saved(tab, page, tmp_path):
    """With --show-keys, of which the page warns."""
    folder, out = page[0].parent / "esp", tmp_path / "keys.html"
    words = (folder / "esn.pcap", "--sad", folder / "esn.sad", "--frame", "2", "--show-keys", "--html", out)
    assert espsim_text("explain", *words)[0] == 0
    tab.open(out)
    assert "The keys are in this page" in tab.ask("document.body.textContent")
    pcap, sad = saved(tab, tmp_path)
    for more in (("--sad", sad), ()):
        status, said, _ = espsim_text("decap", pcap, *more, "--json")
        assert (status, json.loads(said)["delivered"]) == (0, 2)


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


FOCUSED = "document.activeElement.id || document.activeElement.name || document.activeElement.tagName"
CONTROLS = {"back", "next", "flip-on", "flip-byte", "flip-bit", "twice", "twice-esn", "mask-bits", "who-dir",
            "save-capture", "save-sad", "SUMMARY", "A", "I", "TR", "SPAN", "BUTTON"}  # fmt: skip


def test_the_tab_key_comes_to_every_control(at):
    """And there is no control that this file does not use: by its id, its name, or its tag."""
    interactive = "button, input, select, summary, a, [tabindex='0']"
    there = f"[...document.querySelectorAll({json.dumps(interactive)})]"
    visible = f"{there}.filter(e => e.offsetParent !== null || e.matches('.skip'))"
    names = set(at.ask(f"{visible}.map(e => e.id || e.name || e.tagName)"))
    assert names == CONTROLS | {"DIV"}  # a table that scrolls
    reached = set()
    for _ in range(at.ask(f"{visible}.length") + 5):
        at.key("Tab")
        reached.add(at.ask(FOCUSED))
    assert names <= reached


def test_every_switch_by_keyboard(at):
    said = "document.querySelector('#%s-says').textContent"
    focus = "document.querySelector('%s').focus()"

    def press(selector, key, answer):
        """The answer after a key, which differs from the one before."""
        before = at.ask(said % answer)
        at.ask(focus % selector)
        at.key(key)
        assert at.ask(said % answer) != before, (selector, key)
        return at.ask(said % answer)

    assert "ICV" in press("#flip-on", " ", "flip")
    press("#flip-byte", "ArrowDown", "flip")
    press("#flip-bit", "ArrowDown", "flip")
    press("input[name=twice]:checked", "ArrowDown", "twice")
    press("#twice-esn", " ", "twice")
    assert press("#mask-bits", "Home", "mask").startswith("1 bit, 2 slots")
    assert press("#mask-bits", "End", "mask").startswith("16 bits, 65536 slots")
    press("#who-dir", " ", "who")
    for number in range(at.ask("document.querySelectorAll('details').length")):
        opened = f"document.querySelectorAll('details')[{number}]"
        if at.ask(f"{opened}.offsetParent !== null"):
            at.ask(f"{opened}.firstElementChild.focus()")
            at.key("Enter")
            assert at.ask(f"{opened}.open")
    at.ask(focus % "#next")
    at.key("Enter")
    at.key(" ")
    assert at.ask("document.querySelector('#where').textContent").startswith("3 of ")


def test_every_switch_by_pointer(at):
    said = "document.querySelector('#%s-says').textContent"
    shown = []
    for selector, answer in (
        ("#flip-on", "flip"),
        ("input[value=late]", "twice"),
        ("#twice-esn", "twice"),
        ("#who-dir", "who"),
    ):
        before = at.ask(said % answer)
        at.click(selector)
        shown.append(at.ask(said % answer))
        assert shown[-1] != before, selector
    at.drag("#mask-bits", 0.99)
    assert at.ask(said % "mask").startswith("16 bits")
    at.drag("#mask-bits", 0.01)
    assert at.ask(said % "mask").startswith("1 bit,")
    at.click("#tree ul button")
    assert at.ask("document.querySelectorAll('.lit').length") > 1
    at.click("#who-yes summary")
    assert at.ask("document.querySelector('#who-yes details').open")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing(at, page, width, dark):
    axe = axe_core()
    at.open(page[0], width=width, dark=dark)
    assert at.wrong(axe) == []
    for selector in ("#flip-on", "#twice-esn", "#who-dir", "#next"):
        at.click(selector)
    assert at.wrong(axe) == []


def test_axe_would_find_something(at):
    at.ask("document.querySelector('#next').textContent = ''")
    assert any("button-name" in each for each in at.wrong(axe_core()))


def test_no_script_of_a_packet_runs(tab, tmp_path):
    """A payload, a file's name and a frame that are script."""
    from espsim.text.show import format_sa_line
    from tests.unit.report.test_page import EVIL, SA, capture, sealed

    folder = tmp_path / "<img src=x onerror=hacked=1>"
    folder.mkdir()
    (folder / "in.pcap").write_bytes(capture(sealed(EVIL + b"<script>hacked=1</script>")))
    (folder / "sad").write_text(format_sa_line(SA) + "\n")
    words = (folder / "in.pcap", "--sad", folder / "sad", "--html", tmp_path / "page.html", "--show-keys")
    assert espsim_text("explain", *words)[0] == 0
    tab.requests.clear()
    tab.open(tmp_path / "page.html")
    for _ in range(20):
        tab.key("ArrowRight")
    assert tab.ask("typeof hacked") == "undefined"
    assert (tab.complaints, set(tab.requests)) == ([], {(tmp_path / "page.html").as_uri()})
    tab.requests.clear()


def test_it_prints_every_step(at, page):
    at.call("Emulation.setEmulatedMedia", media="print")
    shown = "[...document.querySelectorAll('.step')].filter(e => e.offsetParent !== null).length"
    assert at.ask(shown) == len(page[1]["steps"])
    assert at.ask("document.querySelector('#back').offsetParent") is None
    at.call("Emulation.setEmulatedMedia", media="")
