"""TensorBoard's event files: records of a few protocol buffers, written without TensorBoard.

    record   length (8 bytes), its checksum (4), an Event, its checksum (4); numbers are little-endian
    Event    1 seconds since 1970, 2 step, 3 the format's name (in the first record), 5 Summary, 7 SessionLog

The field numbers are those of TensorFlow's `event.proto`, `summary.proto` and `tensor.proto`; the checksum is CRC-32C
(Castagnoli, RFC 3720, B.4), rotated and shifted as TensorFlow's `crc32c.h` masks it. The ready-made writers keep a
thread and a queue, on which training waits for ever when a disk is full (tensorboardX 2.6), or are large; this one
writes at once, and what goes wrong is an `OSError`.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Mapping
from pathlib import Path

BYTES = 2
"""The wire type of texts and messages."""


def _table() -> list[int]:
    """CRC-32C of each byte; the polynomial is reflected."""
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


TABLE = _table()


class EventFile:
    """One start's file in a run's folder. It is opened for each record, so that there is nothing to close.

    Args:
        folder: Where it lies; TensorBoard reads the event files of a folder in the order of their names.
        first: TensorBoard drops what an earlier start said of this step and those after it.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, folder: Path, first: int) -> None:
        now = time.time_ns()
        self.path = folder / f"events.out.tfevents.{now // 10**9:010}.{now % 10**9:09}"
        self._write(_message(3, b"brain.Event:2"), 0)
        self._write(_message(7, _number(1, 1)), first)   # SessionLog.START

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Say some figures of a step, by their tags; those before a / are drawn together.

        Raises:
            OSError: the file cannot be written.
        """
        each = (_message(1, _text(1, tag) + _float(2, value)) for tag, value in values.items())
        self._write(_message(5, b"".join(each)), step)

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Say a text, which TensorBoard shows as Markdown.

        Raises:
            OSError: the file cannot be written.
        """
        shape = _message(2, _number(1, 1))                               # one dimension, of size 1
        tensor = _number(1, 7) + _message(2, shape) + _text(8, markdown)  # 7: DT_STRING
        shown_by = _message(1, _text(1, "text"))                         # the plugin's name
        self._write(_message(5, _message(1, _text(1, tag) + _message(8, tensor) + _message(9, shown_by))), step)

    def _write(self, what: bytes, step: int) -> None:
        event = _key(1, 1) + struct.pack("<d", time.time()) + _number(2, step) + what
        length = struct.pack("<Q", len(event))
        record = length + _checksum(length) + event + _checksum(event)
        with self.path.open("ab", buffering=0) as file:
            if file.write(record) < len(record):
                raise OSError("the disk is full")


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _float(field: int, value: float) -> bytes:
    try:
        packed = struct.pack("<f", value)
    except OverflowError:                                # more than a 32-bit float holds
        packed = struct.pack("<f", math.copysign(math.inf, value))
    return _key(field, 5) + packed


def _message(field: int, content: bytes) -> bytes:
    return _key(field, BYTES) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode(errors="replace"))
