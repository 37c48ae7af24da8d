"""Opens a report in a real headless browser: argument 1 is the tessera program.

The page must run without a word on the console, draw as many points as there are metrics, answer the
pointer, ask nothing of any network, and leave hostile text from files inert.  Exits 77 (skipped) where there
is no Chromium.
"""

import html.parser
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

STEPS = 60
HOSTILE = "</pre><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
PROBE = """<script>
const answers = [];
for (const svg of document.querySelectorAll("figure.chart svg")) {
  const box = svg.getBoundingClientRect();
  const at = {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2};
  svg.dispatchEvent(new PointerEvent("pointermove", at));
  const tip = svg.parentElement.querySelector(".tip");
  const inner = tip.getBoundingClientRect(), outer = svg.parentElement.getBoundingClientRect();
  const inside = inner.left >= outer.left && inner.right <= outer.right &&
    inner.top >= outer.top && inner.bottom <= outer.bottom;
  answers.push({shown: !tip.hidden && inside, text: tip.textContent});
  svg.dispatchEvent(new PointerEvent("pointerleave", at));
  answers.at(-1).hiddenAgain = tip.hidden;
}
document.body.dataset.probe = JSON.stringify(answers);
document.body.dataset.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const resources = performance.getEntriesByType("resource");
document.body.dataset.requests = resources.filter((one) => !one.name.startsWith("data:")).length;
</script>"""


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([200, 80, 40]) * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def write_run(folder, text):
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({"data": text, "model": {"width": 64}}, file)
    with open(os.path.join(folder, "metrics.jsonl"), "w") as file:
        for step in range(STEPS):
            line = {"step": step, "loss": 5.0, "loss_text": 6 - step / 30, "loss_image": 4.0,
                    "learning_rate": 1e-3, "gradient_norm": 1.0, "clip_scale": 1.0, "tokens": 100,
                    "tokens_per_second": 12345.0, "seconds": 0.1, "flops": 10**6, "flops_per_second": 1e7,
                    "matrix_peak_fraction": 0.5, "memory_bytes": 1, "expert_load": {"0/" + text: 0.5},
                    "unrouted": {"0/text": 0.1}, "passes": {}}
            file.write(json.dumps(line) + "\n")


class Page(html.parser.HTMLParser):
    """What the browser made of the file."""

    def __init__(self, text):
        super().__init__()
        self.scripts = self.images = 0
        self.addresses, self.titles, self.points, self.handlers, self.labels = [], [], [], [], []
        self.body = {}
        self.inside_raw = self.inside_title = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.scripts += tag == "script"
        self.images += tag == "img"
        self.inside_title = tag == "title"
        if tag == "body":
            self.body = attributes
        if tag == "svg":
            self.points.append({})
            self.labels.append(attributes.get("aria-labelledby"))
        if tag == "g":
            is_raw = "raw" in attributes.get("class", "").split()
            self.inside_raw = attributes["data-name"] if is_raw else None
        if tag == "polyline" and self.inside_raw:
            before = self.points[-1].get(self.inside_raw, 0)
            self.points[-1][self.inside_raw] = before + len(attributes["points"].split())
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
                self.addresses.append(value)
            if name.startswith("on"):
                self.handlers.append((tag, name))

    def handle_endtag(self, tag):
        if tag == "title":
            self.inside_title = False

    def handle_data(self, data):
        if self.inside_title:
            self.titles.append(data)


def open_in_browser(browser, path, home, *options):
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         f"--user-data-dir={home}/profile", "--enable-logging=stderr", "--virtual-time-budget=5000", *options,
         "--dump-dom", f"file://{path}"],
        env={**os.environ, "HOME": home}, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def check(condition, message):
    if not condition:
        print("FAILED:", message)
        sys.exit(1)


def main():
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        print("skipped: no Chromium is installed (Debian package chromium)")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as work:
        names = ["first", "<img src=x onerror=alert(1)>"]
        runs = [os.path.join(work, name) for name in names]
        write_run(runs[0], HOSTILE)
        write_run(runs[1], "plain")
        samples = os.path.join(work, "data", "samples")
        os.makedirs(samples)
        for kind in ("original", "reconstruction"):
            with open(os.path.join(samples, f"<b>_{kind}.png"), "wb") as file:
                file.write(png(8, 8))
        out = os.path.join(work, "report.html")
        data = os.path.join(work, "data")
        subprocess.run([sys.argv[1], "report", *runs, "--data", data, "--out", out], check=True)

        with open(out) as file:
            source = file.read()
        urls = re.findall(r"(?:https?:)?//[A-Za-z0-9.-]+\.[a-z]+|url\([^)]*\)|@import", source)
        check(not urls, f"addresses of other places in the page: {urls}")
        probed = os.path.join(work, "probed.html")
        with open(probed, "w") as file:
            file.write(source.replace("</body>", PROBE + "</body>"))

        dark = "--blink-settings=preferredColorScheme=0"
        for options in (["--window-size=1200,900"], ["--window-size=390,800", dark]):
            dom, console = open_in_browser(browser, probed, work, *options)
            page = Page(dom)
            check(not console, f"messages on the console: {console}")
            check(page.scripts == 2, f"the page's script and the probe, got {page.scripts} scripts")
            check(page.titles == [f"Tessera report: {', '.join(names)}"], f"title {page.titles}")
            check(page.images == 2 and not page.handlers, f"{page.images} pictures, handlers {page.handlers}")
            others = [one for one in page.addresses if not one.startswith("data:image/png;base64,")]
            check(not others, f"addresses: {others}")
            check(len(page.points) == 6 and all(page.labels), f"six labelled charts, got {len(page.points)}")
            for chart in page.points:
                check(chart == {name: STEPS for name in names}, f"points of a chart: {chart}")
            check(page.body["data-requests"] == "0", f"requests: {page.body['data-requests']}")
            check(page.body["data-overflow"] == "0", f"page too wide by {page.body['data-overflow']}")
            answers = json.loads(page.body["data-probe"])
            check(len(answers) == 6, f"read-outs: {answers}")
            check(all(one["shown"] and one["hiddenAgain"] for one in answers), f"read-outs: {answers}")
            # The middle of the drawing is left of the middle of the plot, over step 26: 6 - 26 / 30.
            check(answers[0]["text"] == f"step 26first5.133{names[1]}5.133", answers[0]["text"])
            check("12.3 k" in answers[4]["text"], answers[4]["text"])
    print("ok")


if __name__ == "__main__":
    main()
