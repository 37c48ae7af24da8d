"""GIMP manual: pages of DocBook XHTML as interleaved documents, text and pictures in reading order.

One document per page. Navigation, tables of contents, the index, and inline icons are left out; the title of a
figure ("Figure N.M. ...") is text next to its picture.
"""

import pathlib
import re
import xml.etree.ElementTree as ElementTree

from manifest import Corpus, SourceError, clean, connected, digest, in_validation, picture_size

HELP = "usr/share/gimp/2.0/help/en"
# The pages that may go to validation are 85 % of all, so this is about 5 % of the pages.
VALIDATION_SHARE = 0.06
# A photograph that is the "before" picture of a hundred pages ties them together; such a group stays in train.
LARGEST_VALIDATION_GROUP = 10
# Pictures smaller than this on both sides are icons inside a sentence.
ICON_PIXELS = 48

SKIPPED_CLASSES = {"navheader", "navfooter", "toc", "index"}
BLOCKS = {"blockquote", "br", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "p", "pre",
          "table", "td", "th", "tr", "ul"}


class _Page:
    """Collects the parts of one page during a walk in document order."""

    def __init__(self, wanted):
        self.parts = []
        self._wanted = wanted
        self._text = ""

    def walk(self, element: ElementTree.Element, preformatted: bool = False) -> None:
        tag = element.tag.rpartition("}")[2]
        if SKIPPED_CLASSES & set(element.get("class", "").split()):
            return
        if tag == "img":
            self._image(element.get("src"))
            return
        preformatted = preformatted or tag == "pre"
        if tag in BLOCKS:
            self._break_line()
        if tag == "li":
            self._text += "- "
        self._words(element.text, preformatted)
        for child in element:
            self.walk(child, preformatted)
            self._words(child.tail, preformatted)
        if tag in BLOCKS:
            self._break_line()

    def finish(self) -> list[dict]:
        text = clean("\n".join(line.rstrip() for line in self._text.split("\n")))
        if text:
            self.parts.append({"text": text})
        self._text = ""
        return self.parts

    def _words(self, text: str | None, preformatted: bool) -> None:
        if not text:
            return
        if not preformatted:
            text = re.sub(r"\s+", " ", text)
            if not self._text or self._text[-1] in " \n":
                text = text.lstrip(" ")
        self._text += text

    def _break_line(self) -> None:
        # A list item opens a paragraph of its own; its bullet must stay on the same line.
        if self._text and not self._text.endswith(("\n", "\n- ")) and self._text != "- ":
            self._text = self._text.rstrip(" ") + "\n"

    def _image(self, source: str) -> None:
        if self._wanted(source):
            self.finish()
            self.parts.append({"image": source})


def parse_page(xhtml: str | bytes, wanted) -> list[dict]:
    """Text and image parts of a page. wanted(src) decides about each picture; image parts keep their src."""
    body = next((e for e in ElementTree.fromstring(xhtml) if e.tag.endswith("body")), None)
    if body is None:
        return []
    page = _Page(wanted)
    page.walk(body)
    return page.finish()


def read(root: pathlib.Path) -> Corpus:
    folder = root / HELP
    pages = sorted(folder.glob("*.html"))
    if not pages:
        raise SourceError(f"{folder}: expected the pages of the manual, found no .html file")

    fingerprints: dict[str, str | None] = {}

    def wanted(source: str) -> bool:
        if source not in fingerprints:
            # Decoration of the layout (note.png, next.png) lies directly in images/, content in its folders.
            fingerprint = None
            if source.count("/") > 1:
                path = folder / source
                data = path.read_bytes()
                if max(picture_size(data, path)) >= ICON_PIXELS:
                    fingerprint = digest(data)
            fingerprints[source] = fingerprint
        return fingerprints[source] is not None

    parts_of = {}
    for path in pages:
        try:
            parts = parse_page(path.read_bytes(), wanted)
        except ElementTree.ParseError as error:
            raise SourceError(f"{path}: not well-formed XHTML: {error}") from error
        # A page of one line is the heading of a chapter whose sections are pages of their own.
        if any("image" in part or "\n" in part["text"] for part in parts):
            parts_of[path.stem] = parts

    groups = connected({name: {fingerprints[part["image"]] for part in parts if "image" in part}
                        for name, parts in parts_of.items()})
    sizes: dict[str, int] = {}
    for group in groups.values():
        sizes[group] = sizes.get(group, 0) + 1

    corpus = Corpus([])
    for name, parts in parts_of.items():
        for part in parts:
            if "image" in part:
                source = part["image"]
                part["image"] = "images/gimp/" + source.removeprefix("images/")
                corpus.pictures[part["image"]] = folder / source
        group = groups[name]
        held_out = sizes[group] <= LARGEST_VALIDATION_GROUP and in_validation(f"gimp/{group}", VALIDATION_SHARE)
        corpus.documents.append({"id": f"gimp/{name}", "source": "gimp",
                                 "split": "validation" if held_out else "train", "parts": parts})
    return corpus
