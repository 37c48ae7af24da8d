#!/usr/bin/env python3
"""Turns a folder of captioned pictures into a manifest.

usage: folder.py DIR --out manifest.jsonl

Pictures are all .png, .jpg and .jpeg files below DIR. The caption of NAME.png is NAME.txt next to it, or a row
`file,caption` in DIR/captions.csv (tab-separated: DIR/captions.tsv); rows may repeat a file, and both ways may be
mixed: each caption makes one document. Pictures stay where they are.
"""

import argparse
import csv
import io
import os
import pathlib

import manifest
from manifest import SourceError, clean, digest, picture_size

PICTURES = (".png", ".jpg", ".jpeg")
TABLES = {"captions.csv": ",", "captions.tsv": "\t"}


def read_text(path: pathlib.Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: expected UTF-8, byte {error.start} is 0x{data[error.start]:02x}") from error


def read_table(path: pathlib.Path, pictures: set[str]) -> list[tuple[str, str]]:
    """(file, caption) of each row; file is relative to the table's folder and one of `pictures`."""
    # A tab-separated table has no quoting: a quotation mark there is a quotation mark.
    tabs = TABLES[path.name] == "\t"
    rows = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=TABLES[path.name], strict=True,
                      quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL)
    found = []
    try:
        header = next(rows, [])
        if header != ["file", "caption"]:
            raise SourceError(f"{path}: expected the columns file and caption, the first line has {header}")
        for row in rows:
            if not row:
                continue
            if len(row) != 2:
                raise SourceError(f"{path}: line {rows.line_num}: expected 2 columns, found {len(row)}")
            name = pathlib.PurePosixPath(row[0].strip()).as_posix()
            if name not in pictures:
                raise SourceError(f"{path}: line {rows.line_num}: no picture {row[0]!r} below {path.parent}")
            if not clean(row[1]):
                raise SourceError(f"{path}: line {rows.line_num}: the caption of {row[0]!r} is empty")
            found.append((name, clean(row[1])))
    except csv.Error as error:
        raise SourceError(f"{path}: line {rows.line_num}: {error}") from error
    return found


def read(folder: pathlib.Path, manifest_folder: pathlib.Path) -> list[dict]:
    """One document per caption; the same picture under two names, or with two captions, is one group."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: not a folder")
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))
             if path.suffix.lower() in PICTURES and path.is_file()}
    if not paths:
        raise SourceError(f"{folder}: expected pictures ({', '.join(PICTURES)}), found none")

    captions = {name: [] for name in paths}
    for name, path in paths.items():
        text = path.with_suffix(".txt")
        if text.is_file():
            captions[name].append(clean(read_text(text)))
            if not captions[name][0]:
                raise SourceError(f"{text}: the caption is empty")
    for table in TABLES:
        if (folder / table).is_file():
            for name, caption in read_table(folder / table, set(paths)):
                captions[name].append(caption)

    source = folder.resolve().name
    documents = []
    for name, path in paths.items():
        if not captions[name]:
            raise SourceError(f"{path}: no caption, neither in {path.with_suffix('.txt').name} nor in a table")
        data = path.read_bytes()
        picture_size(data, path)
        # Below the manifest's folder a relative path lets the two be moved together.
        absolute, home = path.absolute(), manifest_folder.absolute()
        image = absolute.relative_to(home) if absolute.is_relative_to(home) else absolute
        for number, caption in enumerate(captions[name]):
            documents.append({"id": f"{source}/{name}" + (f"#{number}" if number else ""), "source": source,
                              "group": digest(data), "flip": True,
                              "parts": [{"text": caption}, {"image": image.as_posix()}]})
    return documents


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the manifest of a folder of captioned pictures.")
    parser.add_argument("folder", type=pathlib.Path, metavar="DIR", help="pictures with captions")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="manifest to write, e.g. manifest.jsonl")
    arguments = parser.parse_args()
    documents = read(pathlib.Path(os.path.normpath(arguments.folder)), arguments.out.parent)
    manifest.write_manifest(arguments.out, documents)
    print(manifest.summary(documents[0]["source"], documents))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    manifest.run(main)
