"""Every relative link leads somewhere. Links to other sites are not followed: a test needs no network."""

import posixpath
import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from .markdown import PROJECT, Page, files_of


def broken_links(root, files):
    """One line for each relative link of each Markdown file that leads nowhere."""
    folders = {parent.as_posix() for file in files for parent in PurePosixPath(file).parents}
    pages = {file: Page((root / file).read_text()) for file in files if file.endswith(".md")}

    def problem(path, link):
        url = urlsplit(link)
        if url.scheme or url.netloc:
            return None
        start = "" if url.path.startswith("/") else posixpath.dirname(path)
        target = posixpath.normpath(posixpath.join(start, unquote(url.path).lstrip("/"))) if url.path else path
        if target not in folders and target not in files:
            return "there is no such file or folder"
        if not url.fragment:
            return None
        if target in pages:
            return None if unquote(url.fragment) in pages[target].anchors else f"{target} has no such heading"
        lines = re.fullmatch(r"L(\d+)(?:-L(\d+))?", url.fragment)
        if target not in files or not lines:
            return f"{target} has no headings"
        last = len((root / target).read_text().splitlines())
        return None if int(lines[2] or lines[1]) <= last else f"{target} has {last} lines"

    found = ((path, line, link, problem(path, link)) for path, page in pages.items() for line, link in page.links)
    return [f"{path}:{line}: {link}: {what}" for path, line, link, what in found if what]


def test_every_relative_link_and_anchor_resolves():
    problems = broken_links(PROJECT, files_of(PROJECT))
    assert not problems, "\n".join(problems)


def test_a_link_that_leads_nowhere_is_found_in_any_form(tmp_path):
    files = {
        "README.md": """\
# The `code` of a [link](docs/a%20b.md) — & more!

[a](#the-code-of-a-link---more) [b](#twice) [c](#twice-1) [d](docs) [e](docs/) [f](/docs/a%20b.md#über-uns)
[g](src/lib.rs#L2) [h](https://example.com/none#none) ![i](docs/picture.svg) <a id="own"></a> [j](#own)
[k][reference] <img src="docs/picture.svg">

## Twice
## Twice

```markdown
[not a link](nowhere)
```

`[not a link](nowhere)`

[A](#thrice) [B](#twice-2)
[C](docs/none.md) [D](docs/a%20b.md#none) [E](src/lib.rs#L3) [F](src/lib.rs#main) [G](docs#none) [H](../outside)
![I](docs/none.svg) <img src="none.png"> [J](Docs) [K](#Twice)

| table |
|---|
| [L](none) |

[reference]: docs/picture.svg#L1
""",
        "docs/a b.md": "[up](../README.md#twice) [down](README.md)\n\nÜber uns\n---\n",
        "docs/picture.svg": "<svg/>\n",
        "src/lib.rs": "1\n2\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    missing = "there is no such file or folder"
    assert broken_links(tmp_path, sorted(files)) == [
        "README.md:16: #thrice: README.md has no such heading",
        "README.md:16: #twice-2: README.md has no such heading",
        f"README.md:17: docs/none.md: {missing}",
        "README.md:17: docs/a%20b.md#none: docs/a b.md has no such heading",
        "README.md:17: src/lib.rs#L3: src/lib.rs has 2 lines",
        "README.md:17: src/lib.rs#main: src/lib.rs has no headings",
        "README.md:17: docs#none: docs has no headings",
        f"README.md:17: ../outside: {missing}",
        f"README.md:18: docs/none.svg: {missing}",
        f"README.md:18: none.png: {missing}",
        f"README.md:18: Docs: {missing}",
        "README.md:18: #Twice: README.md has no such heading",
        f"README.md:22: none: {missing}",
        f"docs/a b.md:1: README.md: {missing}",
    ]
