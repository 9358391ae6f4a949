"""Which capture format a file is of, by its first four bytes."""

from __future__ import annotations

from espsim.io.pcap import ClassicPcap
from espsim.io.pcapng import SECTION_MAGIC, Pcapng, Skim
from espsim.io.source import ByteSource

_OTHER_MAGICS = {
    b"\x1f\x8b": "it is compressed with gzip: decompress it first",
    b"\x28\xb5\x2f\xfd": "it is compressed with zstd: decompress it first",
    b"\x04\x22\x4d\x18": "it is compressed with lz4: decompress it first",
    b"\x34\xcd\xb2\xa1": "it is a pcap of the old patched format a1b2cd34, which is not supported",
    b"\xa1\xb2\xcd\x34": "it is a pcap of the old patched format a1b2cd34, which is not supported",
}


def read_format(source: ByteSource, skim: Skim | None = None) -> ClassicPcap | Pcapng:
    """The format of a source, after its file header was read; `skim` as in Pcapng.

    InputError: it is empty, not a capture of a known format, or a broken one.
    """
    magic = source.read(4)
    if not magic:
        raise source.refused("is empty: no capture")
    if ClassicPcap.knows(magic):
        return ClassicPcap(source, magic)
    if magic == SECTION_MAGIC:
        return Pcapng(source, skim)
    why = next((text for start, text in _OTHER_MAGICS.items() if magic.startswith(start)), None)
    text = magic.isascii() and magic.decode("ascii").isprintable()
    says = f"{magic.hex()}, the text {magic.decode()!r}: is it a file of SAs?" if text else magic.hex()
    raise source.refused(why or f"is neither pcap nor pcapng: it starts with {says}")
