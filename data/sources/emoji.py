"""Emoji: the bitmaps of a colour font, captioned with the CLDR names and keywords in several languages.

One document per emoji and language; all languages of an emoji share its picture. A picture belongs to a
character sequence when the font turns the sequence into exactly one glyph that has a bitmap.
Sources: OpenType 1.9 (cmap, GSUB, CBLC, CBDT), Unicode Technical Standard 35 part 2 (annotations).
"""

import pathlib
import re
import struct
import xml.etree.ElementTree as ElementTree

from manifest import Corpus, SourceError, clean, connected, digest, in_validation

FONT = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
CLDR = "usr/share/unicode/cldr/common"
# English first: only what has an English name is imported.
LANGUAGES = ("en", "de", "es", "fr", "it", "nl", "pl", "pt", "ru")
VALIDATION_SHARE = 0.05

VARIATION_SELECTOR = "\ufe0f"
JOINER = "\u200d"
SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"

# Pictures that differ in gender or age alone, but have code points of their own: each is read as the last.
NEUTRAL = str.maketrans({
    "👨": "🧑", "👩": "🧑", "👴": "🧓", "👵": "🧓", "👦": "🧒", "👧": "🧒",
    "🎅": "🤶", "🤴": "🫅", "👸": "🫅", "🕺": "💃", "🤰": "🫄", "🫃": "🫄",
    "👬": "👫", "👭": "👫", "🫱": "🤝", "🫲": "🤝",
})
# Sequences of neutral people that have a single character for the same picture.
COMPOSED = {"🧑🤝🧑": "👫", "🧑❤💋🧑": "💏", "🧑❤🧑": "💑", "🤝🤝": "🤝", "🧑🎄": "🤶"}


class BitmapFont:
    """The parts of a colour bitmap font needed to find the PNG of a character sequence."""

    def __init__(self, data: bytes):
        self._data = data
        tables = {}
        for at in range(12, 12 + 16 * self._u16(4), 16):
            tables[data[at:at + 4]] = struct.unpack_from(">I", data, at + 8)[0]
        self._glyph = self._read_cmap(tables[b"cmap"])
        self._ligatures = self._read_ligatures(tables[b"GSUB"])
        self._bitmap = self._read_bitmaps(tables[b"CBLC"], tables[b"CBDT"])

    def picture(self, text: str) -> bytes | None:
        """The PNG of `text`, or None when it is not exactly one glyph with a bitmap."""
        glyphs = [self._glyph.get(ord(character)) for character in text]
        for lookup in self._ligatures:
            glyphs = self._substitute(glyphs, lookup)
        return self._bitmap.get(glyphs[0]) if len(glyphs) == 1 else None

    def _u16(self, at: int) -> int:
        return struct.unpack_from(">H", self._data, at)[0]

    def _u16s(self, at: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f">{count}H", self._data, at)

    def _u32s(self, at: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f">{count}I", self._data, at)

    def _read_cmap(self, cmap: int) -> dict[int, int]:
        glyph = {}
        for record in range(cmap + 4, cmap + 4 + 8 * self._u16(cmap + 2), 8):
            table = cmap + self._u32s(record + 4, 1)[0]
            if self._u16(table) == 12:
                for group in range(self._u32s(table + 12, 1)[0]):
                    first, last, start = self._u32s(table + 16 + 12 * group, 3)
                    glyph.update((code, start + code - first) for code in range(first, last + 1))
        return glyph

    def _read_ligatures(self, gsub: int) -> list[dict[int, list[tuple[tuple[int, ...], int]]]]:
        """Per ligature lookup: first glyph to its (other components, ligature glyph), in order of preference."""
        lookups = gsub + self._u16(gsub + 8)
        found = []
        for offset in self._u16s(lookups + 2, self._u16(lookups)):
            lookup = lookups + offset
            rules = {}
            for subtable in self._u16s(lookup + 6, self._u16(lookup + 4)):
                at, kind = lookup + subtable, self._u16(lookup)
                if kind == 7:  # extension: the real subtable is further away than 16 bits reach
                    kind, at = self._u16(at + 2), at + self._u32s(at + 4, 1)[0]
                if kind != 4:
                    continue
                sets = self._u16s(at + 6, self._u16(at + 4))
                for first, ligature_set in zip(self._coverage(at + self._u16(at + 2)), sets):
                    base = at + ligature_set
                    for ligature in self._u16s(base + 2, self._u16(base)):
                        result, count = self._u16s(base + ligature, 2)
                        others = self._u16s(base + ligature + 4, count - 1)
                        rules.setdefault(first, []).append((others, result))
            if rules:
                found.append(rules)
        return found

    def _coverage(self, at: int) -> list[int]:
        count = self._u16(at + 2)
        if self._u16(at) == 1:
            return list(self._u16s(at + 4, count))
        ranges = (self._u16s(at + 4 + 6 * i, 2) for i in range(count))
        return [glyph for first, last in ranges for glyph in range(first, last + 1)]

    def _read_bitmaps(self, cblc: int, cbdt: int) -> dict[int, bytes]:
        bitmap = {}
        for strike in range(cblc + 8, cblc + 8 + 48 * self._u32s(cblc + 4, 1)[0], 48):
            array, _, count = self._u32s(strike, 3)
            for record in range(cblc + array, cblc + array + 8 * count, 8):
                first, last = self._u16s(record, 2)
                table = cblc + array + self._u32s(record + 4, 1)[0]
                if self._u16s(table, 2) != (1, 17):
                    continue
                images = cbdt + self._u32s(table + 4, 1)[0]
                offsets = self._u32s(table + 8, last - first + 2)
                for glyph, start, end in zip(range(first, last + 1), offsets, offsets[1:]):
                    if end > start:  # five bytes of metrics and a length, then the PNG
                        bitmap[glyph] = self._data[images + start + 9:images + end]
        return bitmap

    @staticmethod
    def _substitute(glyphs: list, rules: dict) -> list:
        result = []
        while glyphs:
            for others, ligature in rules.get(glyphs[0], ()):
                if tuple(glyphs[1:1 + len(others)]) == others:
                    result.append(ligature)
                    glyphs = glyphs[1 + len(others):]
                    break
            else:
                result.append(glyphs[0])
                glyphs = glyphs[1:]
        return result


def parse_annotations(xml: str | bytes) -> dict[str, tuple[str, list[str]]]:
    """Character sequence (without U+FE0F) to its name and keywords; sequences without a name are left out."""
    names, keywords = {}, {}
    for annotation in ElementTree.fromstring(xml).iter("annotation"):
        sequence = annotation.get("cp").replace(VARIATION_SELECTOR, "")
        text = clean(annotation.text or "")
        if annotation.get("type") == "tts":
            names[sequence] = text
        else:
            keywords[sequence] = [word.strip() for word in text.split("|") if word.strip()]
    # Three arrows mean "as in the parent locale", which for these languages is a symbol, not a caption.
    return {sequence: (name, keywords.get(sequence, [])) for sequence, name in names.items() if name.strip("↑")}


def caption(name: str, keywords: list[str]) -> str:
    """`name. keyword, keyword`, saying nothing twice: keywords often repeat the name or a piece of it."""
    seen = {piece.strip().casefold() for piece in [name, *re.split("[:,]", name)]}
    fresh = []
    for word in keywords:
        if word.casefold() not in seen:
            seen.add(word.casefold())
            fresh.append(word)
    return f"{name}. {', '.join(fresh)}" if fresh else name


def base_of(sequence: str) -> str:
    """The sequence without what makes it a variant: skin tone, gender, and the make-up of a family or couple."""
    drop = SKIN_TONES + JOINER + VARIATION_SELECTOR + "♀♂"
    base = "".join(c for c in sequence if c not in drop).translate(NEUTRAL) or sequence
    if len(base) > 1 and set(base) <= set("🧑🧒"):
        return "👪"
    return COMPOSED.get(base, base)


def read(root: pathlib.Path) -> Corpus:
    path = root / FONT
    try:
        font = BitmapFont(path.read_bytes())
    except (struct.error, KeyError) as error:
        raise SourceError(f"{path}: not a colour bitmap font with ligatures: {error}") from error

    names = {language: {} for language in LANGUAGES}
    for language in LANGUAGES:
        for folder in ("annotations", "annotationsDerived"):
            path = root / CLDR / folder / f"{language}.xml"
            try:
                names[language].update(parse_annotations(path.read_bytes()))
            except ElementTree.ParseError as error:
                raise SourceError(f"{path}: not valid XML: {error}") from error

    pictures = {}
    for sequence in sorted(names["en"]):
        picture = font.picture(sequence)
        if picture is not None:
            pictures[sequence] = picture
    if not pictures:
        raise SourceError(f"{root / FONT}: none of the {len(names['en'])} named characters has a picture")

    # Some sequences of different meaning share one picture, such as the flags of overseas territories.
    groups = connected({sequence: {base_of(sequence), digest(png)} for sequence, png in pictures.items()})
    corpus = Corpus([])
    for sequence, png in pictures.items():
        code = "-".join(f"{ord(character):x}" for character in sequence)
        image = f"images/emoji/{code}.png"
        corpus.pictures[image] = png
        split = "validation" if in_validation(f"emoji/{groups[sequence]}", VALIDATION_SHARE) else "train"
        for language in LANGUAGES:
            if sequence in names[language]:
                corpus.documents.append({
                    "id": f"emoji/{code}/{language}", "source": "emoji", "split": split, "flip": True,
                    "parts": [{"text": caption(*names[language][sequence])}, {"image": image}]})
    return corpus
