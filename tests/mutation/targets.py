"""What is mutated, and the tests that should notice: as few as possible, the quickest first."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Target:
    """Names of one file, functions, `Class.method` or constants, and the tests that run for each mutant of them."""

    title: str
    file: str
    names: tuple[str, ...]
    tests: tuple[str, ...]


_EQUIVALENCE = "tests/equivalence/"
_AEAD = "tests/unit/aead/"
_IO = "tests/unit/io/"
_SAD = "tests/unit/sad/"
_REFERENCE = "tests/unit/reference/"

TARGETS = (
    Target(
        "window: infer", "espsim/sad/window.py", ("nearest", "_infer_resumed", "Window.infer"),
        (_SAD + "test_window.py", _SAD + "test_window_twin.py"),
    ),
    Target(
        "window: check, advance", "espsim/sad/window.py",
        ("Window.stand", "Window.check", "Window.advance", "Window._ahead", "Window._seen", "Window._zero_refused"),
        (_SAD + "test_window.py", _SAD + "test_window_twin.py"),
    ),
    Target(
        "window: Linux's ring", "espsim/sad/window.py", ("RingWindow", "make_window"),
        (_SAD + "test_ring_window.py",),
    ),
    Target(
        "trailer", "espsim/wire/esp.py", ("parse_trailer", "odd_padding"),
        ("tests/unit/wire/test_esp_layout.py",),
    ),
    Target(
        "ICV", "espsim/aead/cryptography_engine.py",
        ("_Aead.open", "_ShortGcm.open", "_Gmac.open", "_Authenc.open", "_Authenc._decrypt", "_Authenc._icv"),
        (_AEAD + "test_vectors.py", _AEAD + "test_construction.py", _AEAD + "test_more_suites.py"),
    ),
    Target(
        "SPI rules", "espsim/sad/spi.py",
        ("SpiRule", "Rfc2401", "Rfc4301", "SaDir", "Split", "Full4301", "FreeBsd", "OpenBsd", "_another_inbound"),
        (_SAD + "test_spi_rules.py", _SAD + "test_allocspi.py"),
    ),
    Target(
        "lookup: the SAD's tables", "espsim/sad/index.py",
        ("StateIndex.lookup", "StateIndex.locate", "StateIndex.by_addresses", "daddr_key", "_port"),
        (_SAD + "test_index.py", _SAD + "test_spi_scenarios.py", _SAD + "test_requests.py"),
    ),
    Target(
        "kernel: trailer", "espsim/batch/inbound/trailer.py", ("judge_trailers",),
        (_EQUIVALENCE + "test_kernel_trailer.py",),
    ),
    Target(
        "inbound: order of the steps", "espsim/reference/inbound.py",
        ("Inbound.receive_for", "Inbound.accept", "Inbound._usable", "Inbound._check_sequence",
         "Inbound.ready", "Inbound.open", "Inbound.trailer", "Inbound.decap"),
        (_REFERENCE + "test_heard.py", _REFERENCE + "test_nested.py", _REFERENCE + "test_inbound_verdicts.py",
         _REFERENCE + "test_transport.py",
         _REFERENCE + "test_beet.py", _REFERENCE + "test_iptfs_receiver.py",
         _REFERENCE + "test_tunnel_fields.py"),
    ),
    Target(
        "kernel: lookup", "espsim/batch/inbound/lookup.py", ("_says4", "_says6", "_follow", "_aim", "triple", "usable"),
        (_EQUIVALENCE + "test_kernel_lookup.py",),
    ),
    Target(
        "stages: what each may write", "espsim/batch/stages.py", ("REDO", "in_order", "checked"),
        ("tests/unit/batch/test_rule.py",),
    ),
    Target(
        "ciphertext's return", "espsim/batch/inbound/open.py", ("open_again", "close_row", "_refuse_broken"),
        ("tests/unit/batch/test_open_again.py",),
    ),
    Target(
        "captures: times of pcapng", "espsim/io/pcapng.py",
        ("Interface.time_ns", "Pcapng._interface", "interface_block", "packet_block"),
        (_IO + "test_pcapng_write.py", _IO + "test_pcapng_read.py", _IO + "test_arrivals.py"),
    ),
    Target(
        "fragments: put together", "espsim/io/fragments.py", ("_Datagram",),
        (_IO + "test_datagram.py", _IO + "test_fragments.py"),
    ),
    Target(
        "fragments: headers", "espsim/wire/fragments.py", ("_parse4", "_parse6", "_fragment_header", "together_ecn"),
        ("tests/unit/wire/test_fragment_headers.py", _IO + "test_fragments.py"),
    ),
    Target(
        "declaration: lookup", "espsim/batch/inbound/lookup.py", ("STAGE",),
        ("tests/unit/batch/test_rule.py",),
    ),
    Target(
        "declaration: open", "espsim/batch/inbound/open.py", ("STAGE",),
        ("tests/unit/batch/test_rule.py",),
    ),
    Target(
        "declaration: trailer", "espsim/batch/inbound/trailer.py", ("STAGE",),
        ("tests/unit/batch/test_rule.py",),
    ),
)  # fmt: skip
