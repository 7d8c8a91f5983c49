"""What tests of pages share: a page read back, images and a table to put on one."""

import io
from html.parser import HTMLParser

from PIL import Image

from cxr_jax.evaluation.tables import Table

VOID = {"meta", "input", "br"}


def jpeg(grey):
    file = io.BytesIO()
    Image.new("L", (8, 8), grey).save(file, "JPEG")
    return file.getvalue()


class Reader(HTMLParser):
    """Collects text by enclosing tag, the tags seen, and fails on tags that do not nest."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts = [], [], {}
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"<{tag}> repeats an attribute"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts.setdefault(tag, []).append(data)

    def text(self, tag):
        return "".join(self.texts.get(tag, []))

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


BLACK, GREY, WHITE = jpeg(0), jpeg(128), jpeg(255)
SUMMARY = Table(["r2gen", "BLEU-1"], [["this run", ".412"], ["constant <report>", ".490"]])
