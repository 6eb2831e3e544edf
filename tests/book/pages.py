"""The README and the pages of the book, and the code blocks in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "notebooks"
PAGES = [ROOT / "README.md", *sorted(BOOK.rglob("*.md"))]
_FENCE = re.compile(r"^ *```([^\n`]*)\n(.*?)^ *```$", flags=re.DOTALL | re.MULTILINE)


def name_of(page):
    """The path of a page from the root."""
    return str(page.relative_to(ROOT))


def blocks(page, language):
    """The code blocks of a page in a language."""
    found = _FENCE.findall(page.read_text())
    return [text for kind, text in found if kind.strip() == language]


def languages(page):
    """The languages of the code blocks of a page."""
    return {kind.strip() for kind, _ in _FENCE.findall(page.read_text())}


def with_block(language):
    """The pages that have a block in a language."""
    return [page for page in PAGES if blocks(page, language)]


def commands(text):
    """The command lines of a block, without comments and continued lines joined."""
    text = re.sub(r"\\\n *", "", text)
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines()]
    return [part.strip() for line in lines if line for part in line.split("&&")]
