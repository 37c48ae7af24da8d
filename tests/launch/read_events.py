"""Walks a TensorBoard event file with struct alone and prints one JSON object per event.

It knows the format from its definition (TFRecord framing, protobuf wire types, the field numbers of
TensorBoard's event.proto and summary.proto), not from the code under test.
"""

import json
import struct
import sys


def masked_crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x82F63B78 if crc & 1 else crc >> 1
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        (length_sum,) = struct.unpack_from("<I", data, at + 8)
        record = data[at + 12 : at + 12 + length]
        (record_sum,) = struct.unpack_from("<I", data, at + 12 + length)
        if length_sum != masked_crc32c(data[at : at + 8]) or record_sum != masked_crc32c(record):
            raise ValueError(f"wrong sum in the record at byte {at}")
        yield record
        at += 16 + length


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = varint(data, at)
        elif wire_type == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif wire_type == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        elif wire_type == 5:
            value, at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            raise ValueError(f"unknown wire type {wire_type}")
        yield number, value


def event(record):
    out = {"step": 0, "scalars": {}}
    for number, value in fields(record):
        if number == 1:
            out["wall_time"] = value
        elif number == 2:
            out["step"] = value
        elif number == 3:
            out["file_version"] = value.decode()
        elif number == 5:
            for _, entry in fields(value):
                summary = dict(fields(entry))
                out["scalars"][summary[1].decode()] = summary.get(2, 0.0)
        elif number == 7:
            out["session_status"] = dict(fields(value)).get(1, 0)
    return out


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        content = file.read()
    try:
        for one in records(content):
            print(json.dumps(event(one)))
    except (ValueError, IndexError, struct.error) as error:
        sys.exit(f"read_events: {error}")
