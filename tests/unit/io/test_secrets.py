"""Secrets blocks of pcapng: read before the capture is opened, written before its packets, with any content."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.io import opening
from espsim.io.atomic import Outputs
from espsim.io.batches import SecretsBatchWriter, open_batches
from espsim.io.capture import CaptureReader, open_capture
from espsim.io.opening import read_secrets
from espsim.io.secrets import ESP_SA, MOST_SECRETS, SECRETS, emit
from espsim.io.secrets_writer import SecretsWriter
from espsim.io.slots import FrameSlot
from tests.equivalence.kernel_settings import quick

TLS = 0x544C534B
ROWS = ['"IPv4","192.0.2.1","192.0.2.2","0x00001001","NULL","","NULL",""', "another row: ä"]
TEXT = "".join(f"{row}\n" for row in ROWS)


def block(order, kind, body, total=None):
    body += bytes(-len(body) % 4)
    total = len(body) + 12 if total is None else total
    return struct.pack(order + "II", kind, total) + body + struct.pack(order + "I", total)


def section(order="<"):
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order="<", linktype=101):
    return block(order, 1, struct.pack(order + "HHI", linktype, 0, 0))


def frame(order="<", data=b"\x45"):
    return block(order, 6, struct.pack(order + "IIIII", 0, 0, 7, len(data), len(data)) + data)


def secrets(order="<", text=TEXT, kind=ESP_SA, length=None, options=b""):
    data = text.encode()
    head = struct.pack(order + "II", kind, len(data) if length is None else length)
    return block(order, SECRETS, head + data + bytes(-len(data) % 4) + options)


def written(tmp_path, *parts):
    path = tmp_path / "in.pcapng"
    path.write_bytes(b"".join(parts))
    return str(path)


def both(path):
    """(frames, secrets blocks, those after a frame) of both readers, which agree."""
    with open_capture(path) as reader:
        one = [frame.captured for frame in reader], reader.secrets, reader.late_secrets
    slot = FrameSlot.of(3)
    with open_batches(path) as batches:
        frames: list[int] = []
        while rows := batches.read_into(slot):
            frames += slot.captured[:rows].tolist()
        assert (frames, batches.secrets, batches.late_secrets) == one
    return one


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_text_of_the_blocks_before_the_first_frame(tmp_path, order):
    other = secrets(order, "CLIENT_RANDOM 00 11\n", TLS)
    parts = section(order), secrets(order), other, interface(order), secrets(order, "no line feed"), frame(order)
    path = written(tmp_path, *parts, secrets(order, "too late\n"), frame(order))
    found = read_secrets(path)
    assert (found.text, found.blocks, found.faults) == (TEXT + "no line feed\n", 2, ())
    assert both(path) == ([1, 1], 3, 1)


def test_no_repr_holds_them(tmp_path):
    found = read_secrets(written(tmp_path, section(), secrets(), interface(), frame()))
    assert "192.0.2.1" not in repr(found)
    assert "IPv4" not in repr(found)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((secrets(length=len(TEXT.encode()) + 9),), "has room for"),
        ((secrets(length=0xFFFFFFFF),), "4,294,967,295 bytes of secrets in a block that has room for"),
    ],
)
def test_a_length_that_lies_is_a_fault_of_that_block_alone(tmp_path, parts, words):
    path = written(tmp_path, section(), *parts, secrets(), interface(), frame())
    found = read_secrets(path)
    assert found.text == TEXT
    assert len(found.faults) == 1
    assert words in found.faults[0]
    assert both(path) == ([1], 2, 0)


def test_more_secrets_than_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MOST_SECRETS", len(TEXT.encode()) + 3)
    found = read_secrets(written(tmp_path, section(), secrets(), secrets(), interface(), frame()))
    assert (found.text, found.blocks) == (TEXT, 2)
    assert f"{len(TEXT.encode())} bytes of secrets: {MOST_SECRETS:,} are read" in found.faults[0]


@pytest.mark.parametrize("size", [0, 4, 8])
def test_a_block_that_is_too_short_for_a_type_is_none(tmp_path, size):
    body = struct.pack("<II", ESP_SA, 0)[:size]
    path = written(tmp_path, section(), block("<", SECRETS, body), interface(), frame())
    assert read_secrets(path).text == ""
    assert both(path) == ([1], int(size == 8), 0)


def test_a_capture_that_ends_in_its_secrets(tmp_path):
    whole = section() + secrets()
    for cut in (40, len(whole) - 30, len(whole) - 2):
        with pytest.raises(InputError, match="capture is cut at byte"):
            read_secrets(written(tmp_path, whole[:cut]))
    # What comes after them is reported by the reader of frames.
    assert read_secrets(written(tmp_path, whole, interface()[:9])).text == TEXT
    assert read_secrets(written(tmp_path, whole, block("<", 1, b""))).text == TEXT


def test_what_is_no_pcapng_has_none(tmp_path):
    for data in (b"", b"hello", struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0, 101)):
        assert read_secrets(written(tmp_path, data)).blocks == 0
    with pytest.raises(InputError, match="is cut"):
        read_secrets(written(tmp_path, section()[:20]))
    with pytest.raises(InputError, match="No such file"):
        read_secrets(str(tmp_path / "nothing"))


def test_a_pipe_is_read_once(tmp_path):
    data = section() + secrets() + interface() + frame() * 3 + secrets() + frame() * 50_000
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    for opened in (open_capture, open_batches):
        writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(data))
        writer.start()
        assert read_secrets(path).text == TEXT
        with opened(path) as reader:
            if isinstance(reader, CaptureReader):
                frames = sum(1 for _ in reader)
            else:
                slot = FrameSlot.of()
                while reader.read_into(slot):
                    pass
                frames = reader.frames
            assert (frames, reader.secrets, reader.late_secrets) == (50_003, 2, 1)
        writer.join()


def test_standard_input_that_is_a_file_is_read_from_where_it_stands(tmp_path):
    path = written(tmp_path, b"12345", section(), secrets(), interface(), frame())
    code = (
        "import sys\n"
        "from espsim.io.opening import read_secrets\n"
        "from espsim.io.capture import open_capture\n"
        "import os; os.read(0, 5)\n"
        "assert len(read_secrets('-').text) > 50\n"
        "assert [f.captured for f in open_capture('-')] == [1]\n"
    )
    with open(path, "rb") as file:
        subprocess.run([sys.executable, "-c", code], stdin=file, check=True)


PIECES = st.one_of(
    st.sampled_from([interface(), frame(), frame(), section(), section(">"), secrets(), secrets(kind=TLS)]),
    st.builds(
        lambda kind, length, data, options: secrets("<", data, kind, length, options),
        st.sampled_from([ESP_SA, TLS, 0]),
        st.none() | st.integers(0, 2**32 - 1) | st.integers(0, 60),
        st.text(max_size=30),
        st.binary(max_size=40),
    ),
    st.builds(lambda total: block("<", SECRETS, bytes(12), total), st.integers(0, 2**32 - 1)),
    st.binary(max_size=20),
)


@quick
@given(st.lists(PIECES, max_size=7), st.integers(0, 400))
def test_any_blocks_are_read_or_refused_in_a_line(tmp_path_factory, pieces, cut):
    path = str(tmp_path_factory.getbasetemp() / "any.pcapng")
    data = section() + b"".join(pieces)
    with open(path, "wb") as file:
        file.write(data[: len(data) - cut % len(data)])
    answer_of(read_secrets, path)
    assert answer_of(frames_of, path) == answer_of(rows_of, path)


def answer_of(read, path):
    try:
        return read(path)
    except InputError as error:
        return str(error)


def frames_of(path):
    with open_capture(path) as reader:
        return sum(1 for _ in reader)


def rows_of(path):
    slot, rows = FrameSlot.of(5), 0
    with open_batches(path) as reader:
        while got := reader.read_into(slot):
            rows += got
    return rows


# -- out --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nanosecond", [False, True])
def test_both_writers_write_the_same(tmp_path, nanosecond):
    import numpy as np

    packets = [b"\x45" + bytes(n) for n in (19, 20, 21, 22, 1400)]
    times = [-5, 0, 1_700_000_000_123_456_789, 2**62, 7]
    for name, kind in (("one", SecretsWriter), ("rows", SecretsBatchWriter)):
        with Outputs() as outputs, kind(str(tmp_path / name), nanosecond=nanosecond, outputs=outputs) as writer:
            if not isinstance(writer, SecretsBatchWriter):
                for data, time in zip(packets, times, strict=True):
                    writer.write(data, time)
            else:
                lengths = np.array([len(p) for p in packets], np.int32)
                at = np.concatenate([[0], np.cumsum(lengths[:-1])]).astype(np.int64)
                arena = np.frombuffer(b"".join(packets), np.uint8)
                writer.write_rows(arena, at, lengths, np.array(times, np.int64), np.ones(5, np.uint8))
            writer.rows, writer.comments = ROWS, ("a comment",)
            writer.commit()
    data = (tmp_path / "one").read_bytes()
    assert data == (tmp_path / "rows").read_bytes()
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600
    assert data[28 + struct.unpack_from("<I", data, 32)[0] :].startswith(emit(ROWS, ("a comment",)))
    found = read_secrets(str(tmp_path / "one"))
    assert (found.text, found.comments) == (TEXT, ("a comment",))
    with open_capture(str(tmp_path / "one")) as reader:
        assert reader.nanosecond is nanosecond
        unit = 1 if nanosecond else 1000
        assert [(f.ip, f.time_ns) for f in reader] == [
            (data, max(time, 0) // unit * unit) for data, time in zip(packets, times, strict=True)
        ]
    assert sorted(os.listdir(tmp_path)) == ["one", "rows"]


def test_the_block_byte_by_byte():
    assert emit(["ab"]) == bytes.fromhex("0a000000 18000000 53505345 03000000 61620a00 18000000")
    assert emit([]) == b""


def test_many_rows_are_several_blocks(tmp_path):
    rows = [f"{n:07}" + "x" * 240 for n in range(9000)]
    data = emit(rows, ["once"])
    path = written(tmp_path, section(), interface(), data, frame())
    found = read_secrets(path)
    assert found.blocks == 3
    assert found.comments == ("once",)
    assert found.text.splitlines() == rows


def test_nothing_is_left_where_writing_fails(tmp_path):
    with Outputs() as outputs, SecretsWriter(str(tmp_path / "out"), outputs=outputs) as writer:
        writer.write(b"\x45", 0)
    assert os.listdir(tmp_path) == []
    with Outputs() as outputs, SecretsWriter("/dev/full", outputs=outputs) as writer:
        writer.write(b"\x45", 0)
        with pytest.raises(InputError, match="No space left"):
            writer.commit()
