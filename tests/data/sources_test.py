#!/ usr / bin / env python3
"""Tests of the importers in data/sources on small inputs made here; no network, no packages."""

import contextlib
import gzip
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "data" / "sources"
sys.path.insert(0, str(SOURCES))
sys.dont_write_bytecode = True

import emoji
import folder
import gcide
import gimp_manual
import manifest


def png(width: int, height: int, grey: int = 0) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + bytes([grey]) * width) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def jpeg_header(width: int, height: int) -> bytes:
    comment = b"\xff\xfe" + struct.pack(">H", 4) + b"hi"
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8" + comment + frame


def bitmap_font(characters: str, ligatures: dict[tuple[int, ...], int], bitmaps: list[bytes]) -> bytes:
    """A font with glyph i + 1 for characters[i]; bitmaps[i] belongs to glyph i + 1, empty bytes to none."""
    groups = b"".join(struct.pack(">III", ord(c), ord(c), i + 1) for i, c in enumerate(characters))
    cmap12 = struct.pack(">HHIII", 12, 0, 16 + len(groups), 0, len(characters)) + groups
    cmap = struct.pack(">HHHHI", 0, 1, 3, 10, 12) + cmap12

#One ligature set per ligature, each for another first glyph, behind an extension subtable.
    offset, sets = 6 + 2 * len(ligatures), []
    for glyphs, result in ligatures.items():
        sets.append(struct.pack(f">HHHH{len(glyphs) - 1}H", 1, 4, result, len(glyphs), *glyphs[1:]))
    coverage = offset + sum(map(len, sets))
    starts = [offset + sum(map(len, sets[:i])) for i in range(len(sets))]
    subtable = (struct.pack(f">HHH{len(sets)}H", 1, coverage, len(sets), *starts) + b"".join(sets)
                + struct.pack(f">HH{len(sets)}H", 1, len(sets), *(glyphs[0] for glyphs in ligatures)))
    extension = struct.pack(">HHI", 1, 4, 8) + subtable
    lookup = struct.pack(">HHHH", 7, 0, 1, 8) + extension
    gsub = struct.pack(">HHHHH", 1, 0, 0, 0, 10) + struct.pack(">HH", 1, 4) + lookup

    images = [struct.pack(">5xI", len(bitmap)) + bitmap if bitmap else b"" for bitmap in bitmaps]
    offsets = [sum(map(len, images[:i])) for i in range(len(images) + 1)]
    index = struct.pack(">HHI", 1, 17, 4) + struct.pack(f">{len(offsets)}I", *offsets)
    cblc = (struct.pack(">HHI", 3, 0, 1) + struct.pack(">III36x", 56, len(index) + 8, 1)
            + struct.pack(">HHI", 1, len(images), 8) + index)
    cbdt = struct.pack(">HH", 3, 0) + b"".join(images)

    tables = {b"CBDT": cbdt, b"CBLC": cblc, b"GSUB": gsub, b"cmap": cmap}
    at, directory = 12 + 16 * len(tables), b""
    for tag, data in tables.items():
        directory += tag + struct.pack(">III", 0, at, len(data))
        at += len(data)
    return b"\0\1\0\0" + struct.pack(">H6x", len(tables)) + directory + b"".join(tables.values())


class TemporaryFolder(unittest.TestCase):
    def setUp(self):
        self.path = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.path)

    def write(self, name: str, content: str | bytes) -> pathlib.Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    @contextlib.contextmanager
    def fails_with(self, *words: str):
        with self.assertRaises(manifest.SourceError) as caught:
            yield
        for word in words:
            self.assertIn(word, str(caught.exception))


class ManifestTest(TemporaryFolder):
    def test_clean_composes_and_drops_control_characters(self):
        self.assertEqual(manifest.clean("  cafe\u0301\x07\tau\r\nlait\x7f "), "café au\nlait")

    def test_split_is_fixed_and_has_about_the_asked_share(self):
        held_out = [key for key in map(str, range(10000)) if manifest.in_validation(key, 0.05)]
        self.assertEqual(held_out[:5], ["29", "72", "90", "99", "115"])
        self.assertTrue(400 < len(held_out) < 600, len(held_out))
        self.assertFalse(any(manifest.in_validation(key, 0.0) for key in held_out))

    def test_connected_follows_chains(self):
        groups = manifest.connected({"d": {"3"}, "b": {"1", "2"}, "c": {"2"}, "a": {"1"}, "e": set()})
        self.assertEqual(groups, {"a": "a", "b": "a", "c": "a", "d": "d", "e": "e"})

    def test_picture_size(self):
        self.assertEqual(manifest.picture_size(png(136, 128), "a"), (136, 128))
        self.assertEqual(manifest.picture_size(jpeg_header(640, 48), "a"), (640, 48))
        for data in (b"", b"GIF89a", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", jpeg_header(640, 48)[:-9]):
            with self.fails_with("photo.png", "PNG or JPEG"):
                manifest.picture_size(data, "photo.png")

    def test_a_failed_write_leaves_the_old_file_and_nothing_else(self):
        path = self.write("m.jsonl", "old")
        with self.assertRaises(TypeError):
            manifest.write_manifest(path, [{"id": "a"}, {"id": object()}])
        self.assertEqual(path.read_text(), "old")
        self.assertEqual(list(self.path.iterdir()), [path])


class EmojiTest(TemporaryFolder):
    XML = ('<?xml version="1.0"?><!DOCTYPE ldml SYSTEM "../../common/dtd/ldml.dtd"><ldml><annotations>'
           '<annotation cp="&amp;">and | ampersand</annotation><annotation cp="&amp;" type="tts">ampersand</annotation>'
           '<annotation cp="❤\ufe0f">heart | Red Heart | love &lt;3</annotation>'
           '<annotation cp="❤\ufe0f" type="tts">red heart</annotation>'
           '<annotation cp="👍🏽" type="tts">thumbs up: medium skin tone</annotation>'
           '<annotation cp="👍" type="tts">thumbs up</annotation>'
           '<annotation cp="👎">only keywords</annotation><annotation cp="👊" type="tts">↑↑↑</annotation>'
           '</annotations></ldml>')

    def test_annotations(self):
        names = emoji.parse_annotations(self.XML)
        self.assertEqual(names, {"&": ("ampersand", ["and", "ampersand"]),
                                 "❤": ("red heart", ["heart", "Red Heart", "love <3"]),
                                 "👍🏽": ("thumbs up: medium skin tone", []), "👍": ("thumbs up", [])})
        self.assertEqual(emoji.caption(*names["❤"]), "red heart. heart, love <3")
        self.assertEqual(emoji.caption(*names["👍"]), "thumbs up")
        self.assertEqual(emoji.caption("cook: light skin tone", ["chef", "cook", "Light skin tone", "chef"]),
                         "cook: light skin tone. chef")

    def test_variants_share_a_base(self):
        for variants in (("👍", "👍🏻", "👍🏿"), ("🧑‍🚀", "👩🏽‍🚀", "👨‍🚀"), ("🏃", "🏃🏾‍♀️", "🏃‍♂️"),
                         ("👪", "👨‍👩‍👧", "👩‍👦‍👦"), ("💏", "👩🏻‍❤️‍💋‍👨🏿"), ("👭", "🧑🏻‍🤝‍🧑🏽", "👩🏻‍🤝‍👨🏼"),
                         ("🤝", "🫱🏻‍🫲🏿"), ("👸", "🤴🏿")):
            self.assertEqual(len({emoji.base_of(variant) for variant in variants}), 1, variants)
        self.assertEqual(len({emoji.base_of(c) for c in ("👍", "👎", "🧑", "🧑‍🚀", "🏽", "♀️", "🇨🇺")}), 7)

    def test_documents_from_font_and_names(self):
        plain, toned, heart = png(136, 128, 1), png(136, 128, 2), png(136, 128, 3)
#Glyphs : 1 &, without a picture; 2 thumb; 3 skin tone; 4 heart; 5 thumb with skin tone.
        self.write(f"root/{emoji.FONT}", bitmap_font("&👍🏽❤", {(2, 3): 5}, [b"", plain, b"", heart, toned]))
        for language in emoji.LANGUAGES:
            xml = self.XML.replace("thumbs up", "Daumen hoch") if language == "de" else self.XML
            self.write(f"root/{emoji.CLDR}/annotations/{language}.xml", xml)
            self.write(f"root/{emoji.CLDR}/annotationsDerived/{language}.xml", "<ldml/>")
        corpus = emoji.read(self.path / "root")
        self.assertEqual(corpus.pictures, {"images/emoji/2764.png": heart, "images/emoji/1f44d.png": plain,
                                           "images/emoji/1f44d-1f3fd.png": toned})
        self.assertEqual(len(corpus.documents), 3 * len(emoji.LANGUAGES))
        documents = {document["id"]: document for document in corpus.documents}
        self.assertEqual(documents["emoji/1f44d-1f3fd/de"],
                         {"id": "emoji/1f44d-1f3fd/de", "source": "emoji", "split": "train", "flip": True,
                          "parts": [{"text": "Daumen hoch: medium skin tone"},
                                    {"image": "images/emoji/1f44d-1f3fd.png"}]})
        self.assertEqual(len({documents[f"emoji/{code}/en"]["split"] for code in ("1f44d", "1f44d-1f3fd")}), 1)

    def test_broken_inputs_are_named(self):
        font = self.write(f"root/{emoji.FONT}", b"not a font")
        with self.fails_with(str(font), "bitmap font"):
            emoji.read(self.path / "root")
        font.write_bytes(bitmap_font("👍", {(1, 1): 2}, [png(1, 1)]))
        self.write(f"root/{emoji.CLDR}/annotations/en.xml", "<ldml>")
        with self.fails_with("annotations/en.xml", "XML"):
            emoji.read(self.path / "root")


class GimpManualTest(TemporaryFolder):
    PAGE = """<?xml version="1.0" encoding="UTF-8"?>
      <!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "xhtml1-transitional.dtd">
      <html xmlns="http://www.w3.org/1999/xhtml"><head><title>no</title></head><body>
      <div class="navheader"><table><tr><th>Header</th><td><img src="images/next.png"/></td></tr></table></div>
      <div class="sect2"><h3 class="title"><a id="x"></a>3.7. Paint&#98;
rush</ h3><div class = "toc"><dl><dt> Contents</ dt></ dl></ div><div class = "figure"><p class = "title">
    <strong> Figure 14.76. A brush</ strong></ p><div class = "mediaobject">
    <img src = "images/toolbox/brush.png" alt = "A brush" /><div class = "caption"><p> At work.</ p></ div>
    </ div></ div><p> Click the<span class = "guiicon"><img src = "images/toolbox/icon.png" />
    </ span> icon& amp;
          press <strong>P</strong>.</p>
        <ul><li class="listitem"><p>one</p></li><li><p>two</p></li></ul>
        <pre class="programlisting">if a:
    b</pre>
      </div><div class="navfooter">Footer</div></body></html>"""

    def make(self, pages: dict[str, str]) -> pathlib.Path:
        for name, page in pages.items():
            self.write(f"root/{gimp_manual.HELP}/{name}.html", page)
        return self.path / "root"

    def picture(self, name: str, data: bytes) -> None:
        self.write(f"root/{gimp_manual.HELP}/images/{name}", data)

    def test_reading_order(self):
        self.picture("toolbox/brush.png", png(100, 20))
        self.picture("toolbox/icon.png", png(22, 22))
        self.picture("next.png", png(64, 64))
        corpus = gimp_manual.read(self.make({"brush": self.PAGE, "part": "<html><body><h1>Part I</h1></body></html>"}))
        self.assertEqual([document["id"] for document in corpus.documents], ["gimp/brush"])
        self.assertEqual(corpus.documents[0]["parts"], [
            {"text": "3.7. Paintbrush\nFigure 14.76. A brush"}, {"image": "images/gimp/toolbox/brush.png"},
            {"text": "At work.\nClick the icon & press P.\n- one\n- two\nif a:\n    b"}])
        self.assertEqual(list(corpus.pictures), ["images/gimp/toolbox/brush.png"])

    def test_pages_that_share_a_picture_are_never_split(self):
        page = '<html><body><p>Page {}</p><img src="images/a/{}.png"/></body></html>'
        pages = {f"page{i:03}": page.format(i, i // 2) for i in range(200)}
        pages |= {f"common{i:03}": page.format(i, "all") for i in range(gimp_manual.LARGEST_VALIDATION_GROUP + 1)}
        for i in range(100):
            self.picture(f"a/{i}.png", png(50, 50, i))
        self.picture("a/all.png", png(50, 50, 255))
        split = {d["id"]: d["split"] for d in gimp_manual.read(self.make(pages)).documents}
        self.assertTrue(all(split[f"gimp/page{i:03}"] == split[f"gimp/page{i + 1:03}"] for i in range(0, 200, 2)))
        self.assertIn("validation", split.values())
        self.assertTrue(all(value == "train" for name, value in split.items() if name.startswith("gimp/common")))

    def test_broken_inputs_are_named(self):
        with self.fails_with(gimp_manual.HELP, "html"):
            gimp_manual.read(self.path / "root")
        with self.fails_with("bad.html", "XHTML"):
            gimp_manual.read(self.make({"bad": "<html><p></html>"}))


class GcideTest(TemporaryFolder):
    TEXT = r"""
00-database-info
   Conditions and notices.

Lark \Lark\ (l[aum]rk), n. [OE. larke, AS. l[=a]werce; akin to
   Icel. l[ae]virki.] (Zool.)
   Any singing bird of the genus
   {
  Alauda} (family {Alaudid[ae]}).
   [1913 Webster]

   Note: See {Sky"lark`}, {M[`e]re}, {Shore
         lark}. [They] sing. [WordNet 1.5] abb'e

abb'e \ab`b['e]"\,
Abbate \Ab*ba"te\, n.
   1. A title. [Obs.]                     --Wyclif.
      [1913 Webster + PJC]
      (a) An abbot's; the fa"""

    def read_text(self, text: bytes) -> manifest.Corpus:
        self.write(f"root/{gcide.DICTIONARY}", gzip.compress(text))
        return gcide.read(self.path / "root")

    def test_entries(self):
        corpus = self.read_text(self.TEXT.encode() + b"\xe7ade haven\xb9t\x92s.\n")
        self.assertEqual([document["parts"][0]["text"] for document in corpus.documents], [
            "Lark, n. [OE. larke, AS. lāwerce; akin to Icel. lævirki.] (Zool.) Any singing bird of the genus Alauda "
            "(family Alaudidæ).\nNote: See Skylark, Mère, Shore lark. [They] sing.\n\n"
            "abb'e, Abbate, n.\n1. A title. [Obs.] --Wyclif.\n(a) An abbot's; the façade haven’t’s."])
        self.assertEqual(corpus.documents[0]["id"], "gcide/00000")

    def test_escapes(self):
        for escape, expected in (("[a^]", "ă"), ("[^a]", "â"), ("['e]", "é"), ('["o]', "ö"), ("[,c]", "ç"),
                                 ("[*a]", "å"), ("[.a]", "ȧ"), ("[.t]", "ṭ"), ("[=ae]", "ǣ"), ("[thorn]", "þ"),
                                 ("[=oo]", "o\u0304o"), ("[Obs.]", "[Obs.]"), ("[He]", "[He]"), ("[1]", "[1]")):
            self.assertEqual(gcide.parse_entry([f"x {escape} y"]), manifest.clean(f"x {expected} y"))

    def test_blocks_end_between_entries(self):
        entries = [f"{i} " + "x" * 700 for i in range(8)] + ["long " + "y" * 9000, "last"]
        blocks = gcide.blocks_of(entries)
        self.assertEqual("\n\n".join(blocks).split("\n\n"), entries)
        self.assertEqual([block.count("\n\n") + 1 for block in blocks], [3, 3, 3, 1])

    def test_broken_inputs_are_named(self):
        with self.fails_with("gcide.dict.dz", "entries"):
            self.read_text(b"no headword here")
        path = self.write(f"root/{gcide.DICTIONARY}", gzip.compress(self.TEXT.encode())[:-20])
        with self.fails_with(str(path), "gzip"):
            gcide.read(self.path / "root")


class FolderTest(TemporaryFolder):
    def run_folder(self) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, SOURCES / "folder.py", self.path / "photos", "--out",
                               self.path / "out" / "m.jsonl"], capture_output=True, text=True)

    def fails(self, *words: str) -> None:
        result = self.run_folder()
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in ("folder: ",) + words:
            self.assertIn(word, result.stderr)
        self.assertFalse((self.path / "out").exists())

    def test_text_files_and_tables(self):
        self.write("photos/a/cat.PNG", png(4, 4, 1))
        self.write("photos/a/cat.txt", "\ufeffA cat,\nasleep.\n")
        self.write("photos/dog.jpg", jpeg_header(8, 8))
        self.write("photos/copy.png", png(4, 4, 1))
        self.write("photos/notes.txt", "not a caption")
        self.write("photos/captions.csv", 'file,caption\r\ndog.jpg,"A dog, ""Rex"""\r\ndog.jpg,Rex\r\n')
        self.write("photos/captions.tsv", 'file\tcaption\n./copy.png\tThe "cat" again\n\n')
        result = self.run_folder()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("4 documents (4 unsplit), 4 images (3 distinct)", result.stdout)
        lines = [json.loads(line) for line in (self.path / "out" / "m.jsonl").read_text("utf-8").splitlines()]
        self.assertEqual([(line["id"], line["parts"][0]["text"]) for line in lines],
                         [("photos/a/cat.PNG", "A cat,\nasleep."), ("photos/copy.png", 'The "cat" again'),
                          ("photos/dog.jpg", 'A dog, "Rex"'), ("photos/dog.jpg#1", "Rex")])
        self.assertEqual(lines[0]["parts"][1]["image"], str(self.path / "photos/a/cat.PNG"))
        groups = [line["group"] for line in lines]
        self.assertTrue(groups[0] == groups[1] != groups[2] == groups[3])
        self.assertEqual(set(lines[0]), {"id", "source", "group", "flip", "parts"})

    def test_paths_are_relative_below_the_manifest(self):
        self.write("photos/a.png", png(4, 4))
        self.write("photos/a.txt", "A")
        documents = folder.read(self.path / "photos", self.path)
        self.assertEqual(documents[0]["parts"][1]["image"], "photos/a.png")

    def test_bad_inputs(self):
        self.fails("photos", "not a folder")
        (self.path / "photos").mkdir()
        self.fails("photos", "found none")
        picture = self.write("photos/a.png", png(4, 4))
        self.fails("a.png", "no caption")
        caption = self.write("photos/a.txt", " \n")
        self.fails("a.txt", "empty")
        caption.write_bytes(b"caf\xe9")
        self.fails("a.txt", "UTF-8", "byte 3", "0xe9")
        caption.write_text("A")
        for table, words in (("name,text\n", ("file and caption", "'name'")), ("", ("file and caption", "[]")),
                             ("file,caption\nb.png,B\n", ("line 2", "'b.png'")),
                             ("file,caption\n../a.png,B\n", ("line 2", "'../a.png'")),
                             ("file,caption\na.png\n", ("line 2", "2 columns")),
                             ('file,caption\na.png,"B\n', ("line", "unexpected end")),
                             ("file,caption\na.png,\n", ("line 2", "empty"))):
            self.write("photos/captions.csv", table)
            self.fails("captions.csv", *words)
        (self.path / "photos/captions.csv").unlink()
        picture.write_bytes(b"<svg>")
        self.fails("a.png", "PNG or JPEG", "<svg>")


class DefaultCorpusTest(TemporaryFolder):
    def make_root(self) -> None:
        self.write(f"root/{emoji.FONT}", bitmap_font("👍🏽", {(1, 2): 3}, [png(136, 128, 1), b"", png(136, 128, 2)]))
        for language in emoji.LANGUAGES:
            for kind in ("annotations", "annotationsDerived"):
                self.write(f"root/{emoji.CLDR}/{kind}/{language}.xml", EmojiTest.XML)
        self.write(f"root/{gimp_manual.HELP}/page.html",
                   '<html><body><p>One</p><img src="images/a/b.png"/></body></html>')
        self.write(f"root/{gimp_manual.HELP}/images/a/b.png", png(50, 50))
        self.write(f"root/{gcide.DICTIONARY}", gzip.compress(b"\nLark \\Lark\\, n.\n   A bird.\n"))

    def run_script(self) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, SOURCES / "default_corpus.py", "--root", self.path / "root", "--out",
                               self.path / "out"], capture_output=True, text=True)

    def test_manifest_and_pictures_are_the_same_every_time(self):
        self.make_root()
        first = self.run_script()
        self.assertEqual((first.returncode, first.stderr), (0, ""))
        self.assertIn("total: 20 documents", first.stdout)
        path = self.path / "out" / "default.jsonl"
        data = path.read_bytes()
        for line in data.decode().splitlines():
            for part in json.loads(line)["parts"]:
                if "image" in part:
                    manifest.picture_size((path.parent / part["image"]).read_bytes(), part["image"])
        self.assertEqual(self.run_script().returncode, 0)
        self.assertEqual(path.read_bytes(), data)

    def test_a_missing_source_writes_nothing(self):
        self.make_root()
        (self.path / "root" / gcide.DICTIONARY).unlink()
        result = self.run_script()
        self.assertEqual(result.returncode, 1)
        self.assertIn("gcide.dict.dz: No such file", result.stderr)
        self.assertFalse((self.path / "out").exists())


@unittest.skipUnless(shutil.which("apt-get") and shutil.which("dpkg-deb"), "needs apt-get and dpkg-deb")
class FetchTest(TemporaryFolder):
    def fetch(self, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run(["bash", SOURCES / "fetch_default_corpus.sh", *arguments], capture_output=True, text=True)

    def test_reuses_a_whole_download_only(self):
        self.assertEqual(self.fetch().returncode, 1)
        (self.path / "root").mkdir()
        result = self.fetch(self.path)
        self.assertEqual(result.returncode, 1)
        self.assertIn("packages.txt", result.stderr)
        names = ("fonts-noto-color-emoji", "unicode-cldr-core", "gimp-help-en", "gimp-help-common", "dict-gcide")
        self.write("root/packages.txt", "".join(f"{name} 1\n" for name in names))
        result = self.fetch(self.path)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("reusing", result.stdout)
        self.write("root/packages.txt", "dict-gcide 1\n")
        self.assertIn("fonts-noto-color-emoji", self.fetch(self.path).stderr)


if __name__ == "__main__":
    unittest.main()
