"""GCIDE: an English dictionary as plain paragraphs, in blocks of whole entries.

The package stores one text laid out for a terminal: lines of 65 columns, accents spelled in ASCII (`[=a]`),
pronunciations, and a line naming the source after nearly every paragraph. Entries begin in the first column.
"""

import gzip
import pathlib
import re
import zlib

from manifest import Corpus, SourceError, clean, in_validation

DICTIONARY = "usr/share/dictd/gcide.dict.dz"
VALIDATION_SHARE = 0.02
# A block closes once it has this many characters, so most are two to four thousand; a longer entry stays whole.
BLOCK_CHARACTERS = 2000

# The text is ASCII but for three bytes; 0xB9 stands for an apostrophe in no code page, so it is listed by hand.
STRAY_BYTES = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0x100)}
STRAY_BYTES[0xDCB9] = "’"

# "\Lar"go\ (l[aum]r"g[-o])," after a headword: its syllables, and its pronunciation when a comma follows.
PRONUNCIATION = re.compile(r"\s*\\[^\\]*\\(?:\s*\([^()]*\)(?=\s*[,;]))?")
# "[1913 Webster]", "[RP + PJC]"; some lack the closing bracket at the end of their paragraph.
PROVENANCE = re.compile(r"\s*\[(?:(?:1913 Webster|Webster 1913|WordNet|PJC|Century Dict)[^\[\]]{0,60}|"
                        r"(?:[A-Z]{2} ?)?\+ ?PJC|RDH|RHUD)(?:\]|$)")
PARAGRAPH_START = re.compile(r"\s+(?:\d+\.|\([a-z]\)|Syn:|Note:)\s")
REFERENCE = re.compile(r"\{([^{}]*)\}")
ESCAPE = re.compile(r"\[([^\[\]\s]{1,7})\]")

ACCENT_BEFORE = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "=": "\u0304", "-": "\u0304",
                 "~": "\u0303", ",": "\u0327", "*": "\u030a"}
# Vowels carry their dot above; consonants, of transliterated Sanskrit and Arabic, below.
DOT = {letter: "\u0307" for letter in "aeiouAEIOU"} | {letter: "\u0323" for letter in "dhlmnrstzDHLMNRSTZ"}
NAMED = {
    "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "eth": "ð", "thorn": "þ", "yogh": "ȝ", "aum": "ä", "imac": "ī",
    "asl": "a", "add": "a\u0324", "udd": "u\u0324", "ng": "ŋ", "th": "th", "deg": "°", "root": "√", "sect": "§",
    "pounds": "£", "times": "×", "div": "÷", "sharp": "♯", "flat": "♭", "dagger": "†", "dag": "†", "para": "¶",
    "middot": "·", "rarr": "→", "ldqo": "“", "rdqo": "”", "nbsp": " ", "min": "′", "sec": "″",
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ", "iota": "ι",
    "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "omicron": "ο", "pi": "π", "rho": "ρ", "sigma": "σ",
    "sigmat": "ς", "tau": "τ", "upsilon": "υ", "phi": "φ", "chi": "χ", "Gamma": "Γ", "Delta": "Δ", "Lambda": "Λ",
    "Pi": "Π", "Upsilon": "Υ", "Chi": "Χ",
}


def _unescape(match: re.Match) -> str:
    code = match[1]
    if code in NAMED:
        return NAMED[code]
    accent, letters = code[0], code[1:]
    if code[-1] == "^":
        accent, letters = "breve", code[:-1]
    if letters in ("ae", "oe"):
        letters = NAMED[letters]
    if letters == "oo" or (len(letters) == 1 and letters.isalpha()):
        mark = {"breve": "\u0306", ".": DOT.get(letters)}.get(accent) or ACCENT_BEFORE.get(accent)
        if mark:
            return letters[0] + mark + letters[1:]
    elif letters in ("æ", "œ") and accent in ACCENT_BEFORE:
        return letters + ACCENT_BEFORE[accent]
    return match[0]


def _plain(paragraph: str) -> str:
    paragraph = PROVENANCE.sub("", re.sub(r"\s+", " ", paragraph))
    # Escapes first: their accents are also the marks of syllables and stress inside references.
    paragraph = ESCAPE.sub(_unescape, paragraph)
    paragraph = REFERENCE.sub(lambda match: re.sub(r'[*"`]', "", match[1]), paragraph)
    # The conversion has cut some references short; a brace left alone means nothing.
    return clean(paragraph.replace("{", "").replace("}", ""))


def parse_entry(lines: list[str]) -> str:
    """An entry as one line per paragraph, without layout, pronunciation and provenance."""
    paragraphs = [[]]
    for line in lines:
        if not line.strip() or PROVENANCE.fullmatch(line):
            paragraphs.append([])
            continue
        if PARAGRAPH_START.match(line):
            paragraphs.append([])
        paragraphs[-1].append(line)
    texts = [" ".join(paragraph) for paragraph in paragraphs if paragraph]
    if texts:
        texts[0] = PRONUNCIATION.sub("", texts[0])
    return "\n".join(filter(None, map(_plain, texts)))


def _entry_starts(lines: list[str]) -> list[int]:
    """Lines with a headword: in the first column, divided into syllables between backslashes."""
    in_first_column = [bool(line[:1].strip()) for line in lines]
    # Headwords may take more than one line; all of them begin in the first column.
    return [at for at, line in enumerate(lines)
            if in_first_column[at] and "\\" in line and not (at and in_first_column[at - 1])]


def parse_dictionary(text: str) -> list[str]:
    """All entries in order; what precedes the first headword (the notice of the files) is left out."""
    lines = text.split("\n")
    starts = _entry_starts(lines)
    entries = []
    for start, end in zip(starts, starts[1:] + [len(lines)]):
        entry = parse_entry(lines[start:end])
        # The conversion repeats many a headword at the end of the entry before it.
        following = lines[end].partition("\\")[0].strip() if end < len(lines) else ""
        if following:
            entry = entry.removesuffix(" " + following)
        if entry:
            entries.append(entry)
    return entries


def blocks_of(entries: list[str]) -> list[str]:
    blocks, current, size = [], [], 0
    for entry in entries:
        current.append(entry)
        size += len(entry)
        if size >= BLOCK_CHARACTERS:
            blocks.append("\n\n".join(current))
            current, size = [], 0
    if current:
        blocks.append("\n\n".join(current))
    return blocks


def read(root: pathlib.Path) -> Corpus:
    path = root / DICTIONARY
    try:
        with gzip.open(path) as file:
            text = file.read().decode("utf-8", "surrogateescape").translate(STRAY_BYTES)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: not a complete gzip file: {error}") from error
    entries = parse_dictionary(text)
    if not entries:
        raise SourceError(f"{path}: expected dictionary entries, found none in {len(text)} characters")
    documents = []
    for number, block in enumerate(blocks_of(entries)):
        name = f"gcide/{number:05d}"
        split = "validation" if in_validation(name, VALIDATION_SHARE) else "train"
        documents.append({"id": name, "source": "gcide", "split": split, "parts": [{"text": block}]})
    return Corpus(documents)
