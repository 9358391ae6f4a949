"""The schema of a hardware model (hwmodels/*.toml): what a file can state of a device and its driver.

Hardware (`classify`, `lookup`, `verify`, `result`) is apart from the driver (`program`), because one chip has several
drivers. Every leaf may be the string "unknown": it is not public, and a run that reaches it stops. An optional key
that is left out is as good as "unknown". Keys that are not in the schema are refused.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

Unknown = Literal["unknown"]
UNKNOWN: Unknown = "unknown"

Count = Annotated[int, Field(ge=0)]
Spi = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
Bit = Annotated[int, Field(ge=0, le=31)]
Capacity = Count | Literal["memory", "config", "shared", "unknown"]
"""`memory` and `config` do not limit; `config` may be set to a number with --assume."""
Text = str
Miss = Literal["software", "drop", "fail_flag", "unknown"]
PacketField = Literal["spi", "spi24", "dst", "src", "proto", "ipver", "mark", "port", "lf", "match_id", "profile",
                      "udp_ports", "frag0", "rule", "prev"]  # fmt: skip
ClassifyField = Literal["port", "esp", "spi", "dst", "src", "proto", "ipver", "mark", "udp_ports", "frag0"]
IdentityField = Literal["slot", "none", "spi", "spi24", "dst", "src", "proto", "ipver", "mark", "port", "lf",
                        "match_id", "profile", "udp_ports", "reqid"]  # fmt: skip
VerifyField = Literal["spi", "dst", "src", "proto", "udp_ports"]
Mode = Literal["tunnel", "transport", "beet", "iptfs"]
Encap = Literal["none", "udp4500", "udp", "tcp"]
Cipher = Literal["aes-gcm", "aes-gmac", "aes-ccm", "chacha20-poly1305", "aes-cbc+hmac", "aes-ctr+hmac", "3des-cbc+hmac",
                 "null+hmac", "aes-cbc", "aes-cbc+xcbc", "aes-ctr+xcbc", "3des-cbc+xcbc", "null+xcbc", "aes-cbc+cmac",
                 "aes-ctr+cmac", "3des-cbc+cmac", "null+cmac"]  # fmt: skip


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _unfit(text: str, *at: str | int) -> PydanticCustomError:
    """Values that are each legal but don't fit together; `at` is the key at fault, from this table on."""
    return PydanticCustomError("unfit", "{text}", {"text": text, "at": at})


class DeviceFacts(_Table):
    """[device]: what is modelled, and the sources of all of it.

    `aliases`: other names of it: products, chips, families. A model that states its own `part` does not inherit them.
    """

    vendor: Text
    part: Text
    aliases: list[Text] = []
    driver: Text
    status: Literal["shipping", "posted-patch", "removed", "reference", "software", "unknown"]
    sources: list[str] | Unknown


class Replay(_Table):
    """caps.replay: who checks, and which windows are taken: a list, powers of two between two, or up to `max`."""

    where: Literal["hw", "driver", "none", "unknown"]
    windows: list[Count] | Unknown | None = None
    pow2_min: Count | Unknown | None = None
    pow2_max: Count | Unknown | None = None
    max: Count | Unknown | None = None
    passed_to_device: bool | Unknown | None = None


class AlgorithmSpec(_Table):
    """One of caps.algs. `key_bits` without salt; of `+hmac` the cipher's key."""

    name: Cipher
    key_bits: list[Count] | Unknown
    icv_bits: list[Count] | Unknown


class LifetimeCaps(_Table):
    """caps.lifetime: who counts, and what happens at the hard limit."""

    packets: Literal["hw", "poll", "none", "unknown"]
    bytes: Literal["hw", "poll", "none", "unknown"]
    time: Literal["hw", "poll", "none", "unknown"]
    hard: Literal["drop", "fail_flag", "none", "unknown"]


class CapsInMode(_Table):
    """[caps.crypto], [caps.packet]: what differs from [caps] for an SA whose offload line asks for that mode."""

    modes: list[Mode] | Unknown | None = None
    encap: list[Encap] | Unknown | None = None
    encap_modes: list[Mode] | Unknown | None = None
    esn: bool | Unknown | None = None
    reqid: bool | Unknown | None = None
    replay: Replay | None = None
    algs: list[AlgorithmSpec] | Unknown | None = None


class Caps(_Table):
    """[caps]: which SAs the driver takes. `offload = []` is software: it takes whatever suite espsim has.

    `encap_modes`: the modes in which UDP encapsulation is taken, where that is not both. `reqid`: an SA with reqid 0 is
    refused. An SA without an offload line is judged by [caps] alone, one with `mode crypto` or `mode packet` by what
    [caps.crypto] or [caps.packet] state first.
    """

    offload: list[Literal["crypto", "packet", "protocol", "lookaside"]] | Unknown
    dirs: list[Literal["in", "out"]] | Unknown
    modes: list[Mode] | Unknown
    encap: list[Encap] | Unknown
    encap_modes: list[Mode] | Unknown | None = None
    esn: bool | Unknown
    reqid: bool | Unknown = False
    replay: Replay
    algs: list[AlgorithmSpec] | Unknown
    lifetime: LifetimeCaps
    crypto: CapsInMode | None = None
    packet: CapsInMode | None = None


class Classify(_Table):
    """[inbound.classify]: which packets go to IPsec at all. `any`: one wildcard rule, always there."""

    kind: Literal["none", "static", "tcam", "flow", "unknown"]
    key: list[ClassifyField] | Unknown
    rule: Literal["any", "per_sa", "per_policy", "unknown"]
    capacity: Capacity
    miss: Literal["software", "drop", "unknown"]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.capacity == 0 and (self.kind in ("tcam", "flow") or self.rule in ("per_sa", "per_policy")):
            raise _unfit("0: a classifier without room for a rule takes no packet", "capacity")
        return self


class Index(_Table):
    """lookup.index: from key to row. `hi`, `lo`, `width` belong to slice_add, `bits` to mask."""

    fn: Literal["mask", "slice_add", "rule", "vendor_hash", "crc32c", "slot_of_prev", "unknown"]
    bits: Annotated[int, Field(ge=1, le=32)] | Unknown | None = None
    subtract_min: bool | Unknown = False
    base: Literal["rule", "unknown"] | None = None
    hi: Bit | Unknown | None = None
    lo: Bit | Unknown | None = None
    width: Annotated[int, Field(ge=1, le=32)] | Unknown | None = None
    chained: bool | Unknown = False
    max_chain: Count | Text | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.fn == "mask" and self.bits is None:
            raise _unfit('fn = "mask" needs `bits`', "fn")
        if self.fn == "slice_add":
            if self.hi is None or self.lo is None or self.width is None:
                raise _unfit('fn = "slice_add" needs `hi`, `lo` and `width`', "fn")
            if isinstance(self.hi, int) and isinstance(self.lo, int) and self.hi < self.lo:
                raise _unfit("is below `lo`", "hi")
        return self


class Aux(_Table):
    """lookup.aux: a second table that every entry needs a row of; entries with equal `key` share it if `refcount`."""

    name: Text
    key: list[PacketField] | Unknown
    capacity: Capacity
    refcount: bool | Unknown
    errno: Text = UNKNOWN

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.capacity == 0:
            raise _unfit("0: a table without rows takes no SA", "capacity")
        return self


class Lookup(_Table):
    """One [[inbound.lookup]]. `key` is a list of fields; of `longest`, a list of such lists.

    `omit_zero`: fields that an entry leaves out (it then matches any) where the SA's value is zero.
    `per_family`: IPv4 and IPv6 have a table each. `over_max`: `direct`, the index is beyond the capacity.
    """

    kind: Literal["direct", "hash", "exact", "longest", "firmware", "none", "unknown"]
    key: list[PacketField] | list[list[PacketField]] | Unknown
    index: Index | None = None
    ways: Count | Unknown | None = None
    sets: Count | Unknown | None = None
    per_way_index: bool | Unknown = False
    capacity: Capacity
    scope: Literal["port", "function", "device", "unknown"]
    aux: list[Aux] = []
    multi_match: Literal["impossible", "first", "last", "lowest_index", "unknown"]
    miss: Miss
    over_max: Miss = UNKNOWN
    omit_zero: list[Literal["src", "dst"]] | Unknown = []
    per_family: bool | Unknown = False
    profiles: Annotated[int, Field(ge=1)] | Unknown | None = None
    profiles_full: Text | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.capacity == 0 and self.kind != "none":
            raise _unfit('0: a table without rows takes no SA (no table at all is kind = "none")', "capacity")
        if self.kind in ("direct", "hash") and self.index is None:
            raise _unfit(f'"{self.kind}" needs `index`', "kind")
        if self.kind == "hash" and not (self.index and self.index.chained) and (self.ways is None or self.sets is None):
            raise _unfit('"hash" needs `ways` and `sets`', "kind")
        if self.kind == "longest" and isinstance(self.key, list) and not all(isinstance(k, list) for k in self.key):
            raise _unfit('kind = "longest" needs a list of keys: [["spi"], ["spi", "dst"]]', "key")
        if self.kind != "longest" and isinstance(self.key, list) and any(isinstance(k, list) for k in self.key):
            raise _unfit('several keys belong to kind = "longest"', "key")
        if self.kind == "hash" and isinstance(self.ways, int) and isinstance(self.sets, int):
            if self.ways * self.sets == 0:
                raise _unfit("`ways` and `sets` must be at least 1", "ways")
            if isinstance(self.capacity, int) and self.capacity != self.ways * self.sets:
                raise _unfit(f"{self.capacity} is not ways * sets = {self.ways * self.sets}", "capacity")
        return self


class Verify(_Table):
    """[inbound.verify]: what is compared with the SA found; `optional` checks run where the user switches them on."""

    always: list[VerifyField] | Unknown
    optional: list[VerifyField] | Unknown
    on_mismatch: Literal["software", "drop", "fail_flag", "none", "unknown"]
    on_invalid: Miss


class OutcomeSpec(_Table):
    """program.duplicate, program.alias: what the driver does. `software`: it declines, the SA stays in software."""

    policy: Literal["reject", "overwrite", "keep_first", "coexist", "software", "unknown"]
    errno: Text = UNKNOWN
    errno_other_port: Text | None = None


class Full(_Table):
    """program.full. `hash`: what a full hash bucket does where that differs: "silent" or an errno."""

    policy: Literal["reject", "silent", "software", "unknown"]
    errno: Text = UNKNOWN
    hash: Text | None = None


class SpiRange(_Table):
    """program.spi_range: the SPIs the driver was configured for, and what it does with others."""

    min: Spi | Unknown
    max: Spi | Unknown
    outside: Literal["ignore", "reject", "unknown"]
    errno: Text = UNKNOWN

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if isinstance(self.min, int) and isinstance(self.max, int) and self.min > self.max:
            raise _unfit("is above `max`", "min")
        return self


class Delete(_Table):
    """program.delete. `by`: what the driver removes by.

    `duplicate_delete`: the place holds another SA's entry (it was kept, or has overwritten this SA's). `first_delete`:
    the SA is the first of duplicates under keep_first; `ok` hands its entry on. `silent_delete`: it was never written.
    """

    by: Literal["handle", "slot", "key", "spi_first_match", "unknown"]
    duplicate_delete: Literal["noop", "kills_survivor", "kills_wrong", "ok", "unknown"]
    first_delete: Literal["kills_survivor", "ok", "unknown"] = "kills_survivor"
    silent_delete: Literal["noop", "kills_slot_0", "unknown"] = "noop"


class Program(_Table):
    """[inbound.program]: the driver."""

    slot: Literal["from_index", "first_free", "firmware", "spi_low24", "unknown"]
    identity: list[IdentityField] | Unknown
    duplicate: OutcomeSpec
    alias: OutcomeSpec = OutcomeSpec(policy=UNKNOWN)
    full: Full = Full(policy=UNKNOWN)
    spi_range: SpiRange | None = None
    spi_owner: Literal["host", "device", "unknown"]
    delete: Delete


class ResultSpec(_Table):
    """[inbound.result]: how software learns what happened."""

    sa_ref: Literal["hw_index", "sw_lookup", "none", "unknown"]
    icv_fail: Literal["rx_flag", "hw_drop", "sw_drop", "ignored", "unknown"]
    replay_fail: Literal["rx_flag", "hw_drop", "sw_drop", "ignored", "unknown"]
    sa_ref_on_fail: bool | Unknown


class InboundSpec(_Table):
    """[inbound.*]. One lookup, or two: the second is an array that the first one's answer indexes."""

    classify: Classify
    lookup: Annotated[list[Lookup], Field(min_length=1, max_length=2)]
    verify: Verify
    program: Program
    result: ResultSpec

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for n, lookup in enumerate(self.lookup):
            follows = lookup.index is not None and lookup.index.fn == "slot_of_prev"
            if follows and not n:
                raise _unfit('"slot_of_prev": the first table has no previous one', "lookup", n, "index", "fn")
            if n and not follows:
                raise _unfit('the second table needs index = { fn = "slot_of_prev" }', "lookup", n, "index")
        if self.lookup[0].kind == "direct":
            for name, outcome in (("duplicate", self.program.duplicate), ("alias", self.program.alias)):
                if outcome.policy == "coexist":
                    raise _unfit('"coexist": a direct table has one entry a slot', "program", name, "policy")
        return self


class OutboundSpec(_Table):
    """[outbound]: the transmit table."""

    capacity: Capacity
    full: Text


class Perf(_Table):
    """One [[perf]]: a published measurement."""

    what: Text
    gbps: float | Unknown | None = None
    mpps: float | Unknown | None = None
    tunnels: Count | Unknown | None = None
    source: Text


class Spec(_Table):
    """A whole model, `extends` resolved."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._+-]*$")]
    extends: Text | None = None
    device: DeviceFacts
    caps: Caps
    inbound: InboundSpec
    outbound: OutboundSpec
    perf: list[Perf] = []
    assume: dict[str, Any] = {}


@functools.cache
def legal(path: tuple[str | int, ...]) -> str:
    """The legal values of a key, in words: `reject, overwrite, ...`; "" where the schema has no such key."""
    found = _annotation(Spec, path)
    return ", ".join(dict.fromkeys(_words(found))) if found is not None else ""


def takes_list(path: tuple[str | int, ...]) -> bool:
    """Whether a key may be a list."""
    return any(get_origin(member) is list for member in _members(_annotation(Spec, path)))


def fields_of(path: tuple[str | int, ...]) -> list[str]:
    """The keys of the table at a path; empty where there is no such table."""
    for member in _members(_annotation(Spec, path)):
        if isinstance(member, type) and issubclass(member, _Table):
            return [field.alias or name for name, field in member.model_fields.items()]
    return []


def _annotation(annotation: Any, path: tuple[str | int, ...]) -> Any:
    for n, part in enumerate(path):
        for member in _members(annotation):
            if isinstance(part, str) and isinstance(member, type) and issubclass(member, _Table):
                fields = {field.alias or name: field for name, field in member.model_fields.items()}
                return _annotation(fields[part].annotation, path[n + 1 :]) if part in fields else None
            if isinstance(part, int) and get_origin(member) is list:
                return _annotation(get_args(member)[0], path[n + 1 :])
        return None
    return annotation


def _members(annotation: Any) -> Iterator[Any]:
    """The alternatives of an annotation: of `int | Literal[...] | None`, each one."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        for member in get_args(annotation):
            yield from _members(member)
    elif annotation is not type(None) and annotation is not None:
        yield annotation


_PLAIN = {int: "a whole number", float: "a number", bool: "true, false", str: "a string", dict: "a table"}


def _words(annotation: Any) -> Iterator[str]:
    for member in _members(annotation):
        if get_origin(member) is Literal:
            yield from map(str, get_args(member))
        elif get_origin(member) is list:
            yield f"a list of {' | '.join(dict.fromkeys(_words(get_args(member)[0])))}"
        elif isinstance(member, type) and issubclass(member, _Table):
            yield "a table"
        else:
            yield _PLAIN.get(get_origin(member) or member, str(member))
