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
_EXPLAIN = "tests/unit/explain/"
_IO = "tests/unit/io/"
_OFFLOAD = "tests/unit/offload/"
_SAD = "tests/unit/sad/"
_REFERENCE = "tests/unit/reference/"
_XFRM = "tests/unit/xfrm/"

TARGETS = (
    Target(
        "window: infer", "espsim/sad/window.py", ("nearest", "_infer_resumed", "Window.infer"),
        (_SAD + "test_window.py", _SAD + "test_window_twin.py"),
    ),
    Target(
        "window: check, advance", "espsim/sad/window.py",
        ("Window.set_numbers", "Window.check", "Window.advance", "Window._ahead", "Window._seen",
         "Window._zero_refused"),
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
        "netlink: MIGRATE", "espsim/netlink/migrate.py",
        ("_OWN_ENDS", "migrate", "_verify", "_old_part", "_policy", "_takes", "_alike", "_state", "_moved",
         "_templates", "_fits"),
        (_XFRM + "test_migrate.py", _XFRM + "test_requests_conformance.py"),
    ),
    Target(
        "netlink: MIGRATE_STATE", "espsim/netlink/migrate_state.py",
        ("_LONGEST", "migrate_state", "_verify", "_verify_with", "_between_hosts", "_configured", "_encap", "_kept",
         "_offload", "_selector", "_selector_family"),
        (_XFRM + "test_migrate.py", _XFRM + "test_requests_conformance.py"),
    ),
    Target(
        "kernel: trailer", "espsim/batch/inbound/trailer.py", ("judge_trailers",),
        (_EQUIVALENCE + "test_kernel_trailer.py",),
    ),
    Target(
        "kernel: sums", "espsim/batch/inbound/sums.py", ("is_ahead", "_row_of", "_took", "_other", "add_up", "Sums.of"),
        (_EQUIVALENCE + "test_kernel_sums.py",),
    ),
    Target(
        "sums added: SAs", "espsim/batch/inbound/count.py", ("tally_sums",), (_EQUIVALENCE + "test_kernel_sums.py",),
    ),
    Target(
        "sums added: verdicts", "espsim/batch/run/counting.py", ("received_sums", "_add", "_drop"),
        (_EQUIVALENCE + "test_kernel_sums.py", "tests/unit/batch/test_counts.py"),
    ),
    Target(
        "sums added: groups", "espsim/batch/inbound/sift.py", ("pass_sums",),
        (_EQUIVALENCE + "test_kernel_sums.py",),
    ),
    Target(
        "inbound: order of the steps", "espsim/reference/inbound.py",
        ("Inbound.receive_for", "Inbound.accept", "Inbound._deliver", "Inbound._check_sequence",
         "Inbound.ready", "Inbound.open", "Inbound.trailer", "Inbound.decap"),
        (_REFERENCE + "test_heard.py", _REFERENCE + "test_nested.py", _REFERENCE + "test_inbound_verdicts.py",
         _REFERENCE + "test_transport.py",
         _REFERENCE + "test_beet.py", _REFERENCE + "test_iptfs_receiver.py",
         _REFERENCE + "test_tunnel_fields.py", _REFERENCE + "test_policies.py"),
    ),
    Target(
        "nested ESP", "espsim/reference/nested.py", ("Nested", "marked"),
        (_REFERENCE + "test_nested.py", _REFERENCE + "test_heard.py"),
    ),
    Target(
        "kernel: lookup", "espsim/batch/inbound/lookup.py", ("_says4", "_says6", "_follow", "_aim", "triple", "usable"),
        (_EQUIVALENCE + "test_kernel_lookup.py",),
    ),
    Target(
        "stages: what each may write", "espsim/batch/stages.py", ("REDO", "in_order", "checked"),
        ("tests/unit/batch/test_stages.py",),
    ),
    Target(
        "ciphertext's return", "espsim/batch/inbound/open.py", ("open_again", "close_row", "refuse_broken"),
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
        ("tests/unit/batch/test_stages.py",),
    ),
    Target(
        "declaration: open", "espsim/batch/inbound/open.py", ("STAGE",),
        ("tests/unit/batch/test_stages.py",),
    ),
    Target(
        "declaration: trailer", "espsim/batch/inbound/trailer.py", ("STAGE",),
        ("tests/unit/batch/test_stages.py",),
    ),
    Target(
        "kernel: window, numbers and verdicts", "espsim/batch/inbound/window.py",
        ("shape_of", "_nearest", "_resumed", "infer", "_place", "judge", "_clear"),
        (_EQUIVALENCE + "test_kernel_window.py", _EQUIVALENCE + "test_kernel_window_moves.py",
         _EQUIVALENCE + "test_kernel_replay.py"),
    ),
    Target(
        "window: moves", "espsim/batch/inbound/window.py",
        ("_move", "sent_number", "accepted", "_below", "seen", "small", "mark"),
        (_EQUIVALENCE + "test_kernel_window_moves.py",),
    ),
    Target(
        "kernel: lookup's inserts", "espsim/batch/inbound/triple.py", ("triple_tables", "_place", "triple_insert"),
        (_EQUIVALENCE + "test_kernel_lookup.py",),
    ),
    Target(
        "device: hashes and ways", "espsim/batch/device/hash.py", ("_word", "row_hashes", "in_ways"),
        (_EQUIVALENCE + "test_kernel_device_steps.py",),
    ),
    Target(
        "device: steps of a lookup", "espsim/batch/device/steps.py",
        ("width", "key_words", "masked", "sliced", "in_slots", "better", "_equal", "conclude", "_of_end",
         "conclude_spi"),
        (_EQUIVALENCE + "test_kernel_device_steps.py",),
    ),
    Target(
        "device: tables", "espsim/batch/device/tables.py",
        ("mix64", "modulo", "direct", "_bucket", "_in_bucket", "_next_bucket", "by_spi_insert", "by_spi", "crc_word",
         "_exact_first", "_exact_slot", "exact_insert", "exact"),
        (_EQUIVALENCE + "test_kernel_device_tables.py",),
    ),
    Target(
        "kernel: replay check, settle", "espsim/batch/inbound/replay.py",
        ("_prefetch_ahead", "check_rows", "settle_sent", "advance"),
        (_EQUIVALENCE + "test_kernel_settle.py", _EQUIVALENCE + "test_kernel_replay.py"),
    ),
    Target(
        "device: windows", "espsim/batch/device/replay.py", ("advance", "tally"),
        (_EQUIVALENCE + "test_kernel_settle.py",),
    ),
    Target(
        "captures: what arrives", "espsim/io/arrivals.py",
        ("Arrivals.anew", "Arrivals.arrived", "Arrivals.as_dict", "Arrivals.of", "Arrivals._whole", "_write"),
        (_IO + "test_arrivals.py",),
    ),
    Target(
        "policy: choice of the SA", "espsim/batch/outbound/policy.py",
        ("select_table", "_place", "select_insert", "choose", "_try_group", "judge"),  # any _bucket is right
        (_EQUIVALENCE + "test_kernel_policy.py",),
    ),
    Target(
        "lookup table", "espsim/batch/lookup_table.py",
        ("LookupTable.insert", "LookupTable.find", "LookupTable._software", "LookupTable._offer", "_columns_of"),
        ("tests/unit/batch/test_lookup_table.py",),
    ),
    Target(
        "causes", "espsim/explain/causes.py",
        ("_NEEDS_BYTES", "CauseFinder", "_marked", "shown_mark", "_gone", "_encap", "_elsewhere", "_wrong_context",
         "_device", "_no_header", "_short", "_plain", "_mode"),
        (_EXPLAIN + "test_causes.py",),
    ),
    Target(
        "causes: the SAs that are known", "espsim/explain/known.py", ("Known", "can_judge", "top_of"),
        (_EXPLAIN + "test_causes.py", _EXPLAIN + "test_known.py"),
    ),
    Target(
        "IP-TFS: order", "espsim/reference/iptfs_order.py", ("Order",),
        (_REFERENCE + "test_iptfs_order.py",),
    ),
    Target(
        "BEET: pseudo header", "espsim/wire/beet.py", ("parse", "emit", "length"),
        ("tests/unit/wire/test_beet_header.py",),
    ),
    Target(
        "IP-TFS: put together", "espsim/reference/iptfs_assembly.py", ("Assembly",),
        (_REFERENCE + "test_iptfs_assembly.py",),
    ),
    Target(
        "device: driver", "espsim/offload/driver.py", ("Driver", "_refused"),
        (_OFFLOAD + "test_driver_collisions.py", _OFFLOAD + "test_driver_room.py",
         _OFFLOAD + "test_driver_delete.py"),
    ),
    Target(
        "device: what arrives", "espsim/offload/device.py", ("Device",),
        (_OFFLOAD + "test_what_arrives.py",),
    ),
    Target(
        "device: tables of a model", "espsim/offload/tables.py",
        ("Table", "DirectTable", "HashTable", "FreeNumbers", "ExactTable", "SlotArray", "AuxTable", "make_table",
         "key_fields", "capacity_of", "limit_of"),
        (_OFFLOAD + "test_tables.py",),
    ),
    Target(
        "device: hashes of keys", "espsim/offload/hashing.py", ("mix64", "vendor_hash", "_start", "crc32c"),
        (_OFFLOAD + "test_hashing.py",),
    ),
)  # fmt: skip
