"""What every importer shares: the shape of a corpus, clean text, stable splits, and files that appear whole.

A manifest is one JSON object per line (broken here to fit):
  {"id": "emoji/1f600/en", "source": "emoji", "split": "train", "flip": true,
   "parts": [{"text": "..."}, {"image": "images/emoji/1f600.png"}]}
Images are paths relative to the manifest's folder, or absolute. Optional: split ("train" or "validation"; else
decided later by a hash of "group", or of "id" without one) and flip (picture and caption may change places).
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import struct
import sys
import tempfile
import unicodedata


class SourceError(Exception):
    """Input that cannot be imported; the message is one sentence that names the file and the value."""


@dataclasses.dataclass
class Corpus:
    """What an importer returns: the lines of the manifest, and where the pictures they name come from."""
    documents: list[dict]
    pictures: dict[str, bytes | pathlib.Path] = dataclasses.field(default_factory=dict)


def clean(text: str) -> str:
    """NFC without control characters; tabs become spaces and every line ending a newline."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    text = "".join(c for c in text if c == "\n" or unicodedata.category(c) != "Cc")
    return unicodedata.normalize("NFC", text).strip()


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def in_validation(group: str, share: float) -> bool:
    """True for about `share` of all groups, the same ones on every machine and in every run."""
    value = hashlib.blake2b(group.encode(), digest_size=8).digest()
    return int.from_bytes(value, "big") < share * 2**64


def connected(features: dict[str, set[str]]) -> dict[str, str]:
    """Group of each key: keys that share a feature, directly or through others, share a group.

    A group is named by its smallest key, so the name does not depend on the order of the input.
    """
    parent = {key: key for key in features}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    first_with: dict[str, str] = {}
    for key in sorted(features):
        for feature in features[key]:
            low, high = sorted((root(key), root(first_with.setdefault(feature, key))))
            parent[high] = low
    return {key: root(key) for key in features}


def picture_size(data: bytes, name: str | os.PathLike) -> tuple[int, int]:
    """Width and height in pixels from the header of a PNG or JPEG; SourceError when it is neither."""
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
            return struct.unpack_from(">II", data, 16)
        at = 2 if data[:2] == b"\xff\xd8" else len(data)
        while True:
            marker, length = struct.unpack_from(">HH", data, at)
            # Start of frame is C0..CF without the Huffman (C4), reserved (C8) and arithmetic (CC) tables.
            if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
                height, width = struct.unpack_from(">HH", data, at + 5)
                return width, height
            if marker < 0xFF00:
                break
            at += 2 + length
    except struct.error:
        pass
    raise SourceError(f"{name}: expected a PNG or JPEG picture, the file starts with {data[:8]!r}")


@contextlib.contextmanager
def replacing(path: pathlib.Path):
    """A binary file that takes the place of `path` when the block ends, and leaves no trace when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        # mkstemp makes private files; a manifest is as readable as any other file of the user.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_pictures(folder: pathlib.Path, pictures: dict[str, bytes | pathlib.Path]) -> None:
    for name, content in pictures.items():
        data = content if isinstance(content, bytes) else content.read_bytes()
        path = folder / name
        if not path.is_file() or path.read_bytes() != data:
            with replacing(path) as file:
                file.write(data)


def write_manifest(path: pathlib.Path, documents: list[dict]) -> None:
    with replacing(path) as file:
        for document in documents:
            file.write(json.dumps(document, ensure_ascii=False).encode() + b"\n")


def summary(name: str, documents: list[dict]) -> str:
    """One line of counts: documents per split, picture references and distinct pictures, characters."""
    parts = [part for document in documents for part in document["parts"]]
    images = [part["image"] for part in parts if "image" in part]
    characters = sum(len(part["text"]) for part in parts if "text" in part)
    splits = [document.get("split", "unsplit") for document in documents]
    counts = ", ".join(f"{splits.count(split)} {split}" for split in sorted(set(splits)))
    return (f"{name}: {len(documents)} documents ({counts}), {len(images)} images ({len(set(images))} distinct), "
            f"{characters} characters")


def run(main) -> None:
    """Runs a script's main(); bad input becomes one sentence on stderr and exit code 1."""
    script = pathlib.Path(sys.argv[0]).stem
    try:
        main()
    except SourceError as error:
        sys.exit(f"{script}: {error}")
    except OSError as error:
        # A full disk has no file name.
        place = f"{error.filename}: " if error.filename else ""
        sys.exit(f"{script}: {place}{error.strerror}")
