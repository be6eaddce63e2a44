"""The project's Markdown, as GitHub shows it: anchors, links, tables and code."""

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from unicodedata import category

from markdown_it import MarkdownIt

PROJECT = Path(__file__).parents[2]


def files_of(root):
    """What a commit of everything would hold: paths from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, text=True, check=True,
    )
    return sorted({name for name in listed.stdout.split("\0") if name and (root / name).is_file()})


class Cell(NamedTuple):
    text: str
    code: list


class Page:
    def __init__(self, text):
        self.anchors = set()
        self.links = []
        self.inline_code, self.code_blocks = [], []
        # Each a list of rows, the header first.
        self.tables = []
        headings = Counter()
        tokens = MarkdownIt("commonmark").enable("table").parse(text)
        for previous, token in zip([None, *tokens], tokens):
            if token.type == "fence" or token.type == "code_block":
                self.code_blocks.append((token.map[0] + 1, token.content))
            elif token.type == "html_block":
                self.read_html(token.map[0] + 1, token.content)
            elif token.type == "table_open":
                self.tables.append([])
            elif token.type == "tr_open":
                self.tables[-1].append([])
            elif token.type == "inline":
                self.read_inline(token)
                if previous.type == "heading_open":
                    slug = slug_of(text_of(token))
                    self.anchors.add(f"{slug}-{headings[slug]}" if headings[slug] else slug)
                    headings[slug] += 1
                elif previous.type in ("th_open", "td_open"):
                    code = [child.content for child in token.children if child.type == "code_inline"]
                    self.tables[-1][-1].append(Cell(text_of(token), code))

    def read_inline(self, token):
        line = token.map[0] + 1
        for child in token.children:
            if child.type in ("softbreak", "hardbreak"):
                line += 1
            elif child.type == "link_open":
                self.links.append((line, child.attrs["href"]))
            elif child.type == "image":
                self.links.append((line, child.attrs["src"]))
            elif child.type == "code_inline":
                self.inline_code.append((line, child.content))
            elif child.type == "html_inline":
                self.read_html(line, child.content)

    def read_html(self, line, html):
        self.links += [(line, target) for target in re.findall(r"""\b(?:href|src)=["']([^"']*)""", html)]
        self.anchors |= set(re.findall(r"""\b(?:id|name)=["']([^"']*)""", html))


def text_of(inline):
    return "".join(child.content for child in inline.children if child.type in ("text", "code_inline"))


def slug_of(heading):
    """GitHub's rule: lower case; letters, digits, connectors and hyphens stay; a space becomes a hyphen."""
    kept = (c for c in heading.lower() if c in "- " or category(c)[0] in "LM" or category(c) in ("Nd", "Pc"))
    return "".join(kept).replace(" ", "-")
