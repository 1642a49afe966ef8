"""Reads TensorBoard's event files by their published format, with nothing of the writer's."""

import struct
from pathlib import Path


def crc32c(data):
    """Bit by bit, as the polynomial is written."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            feedback = (crc ^ byte >> bit) & 1
            crc >>= 1
            if feedback:
                crc ^= 0x82F63B78
    return crc ^ 0xFFFFFFFF


def records(path):
    """The records of a file, each with both checksums right."""
    data = Path(path).read_bytes()
    found = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        for content, at in ((data[:8], 8), (body, 12 + length)):
            crc = crc32c(content)
            masked = ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32
            assert data[at : at + 4] == struct.pack("<I", masked)
        found.append(body)
        data = data[16 + length :]
    return found


def fields(message):
    """A protocol buffer as [(field, value)]: bytes of messages and texts, numbers of all else."""
    found, at = [], 0

    def varint():
        nonlocal at
        number = shift = 0
        while True:
            byte = message[at]
            at += 1
            number |= (byte % 128) << shift
            shift += 7
            if byte < 128:
                return number

    while at < len(message):
        field, kind = divmod(varint(), 8)
        if kind == 0:
            found.append((field, varint()))
            continue
        size = {1: 8, 5: 4}.get(kind) or varint()
        part, at = message[at : at + size], at + size
        found.append((field, struct.unpack({1: "<d", 5: "<f"}[kind], part)[0] if kind in (1, 5) else part))
    return found


def read(folder):
    """({tag: {step: value}}, {tag: text}) of a folder, what a restart drops left out, as TensorBoard shows it."""
    scalars, texts = {}, {}
    for path in sorted(Path(folder).glob("events.out.tfevents.*")):
        for number, record in enumerate(records(path)):
            event = dict(fields(record))
            assert event[1] > 1e9, "seconds since 1970"
            step = event[2]
            if number == 0:
                assert event[3] == b"brain.Event:2"
            if 7 in event:
                assert fields(event[7]) == [(1, 1)], "a session starts"
                scalars = {tag: {s: v for s, v in points.items() if s < step} for tag, points in scalars.items()}
            for _, value in fields(event.get(5, b"")):
                said = dict(fields(value))
                if 2 in said:
                    points = scalars.setdefault(said[1].decode(), {})
                    assert step not in points, "a figure is said twice"
                    points[step] = said[2]
                else:
                    assert fields(dict(fields(said[9]))[1]) == [(1, b"text")]
                    assert dict(fields(said[8]))[1] == 7, "DT_STRING"
                    texts[said[1].decode()] = dict(fields(said[8]))[8].decode()
    return scalars, texts
