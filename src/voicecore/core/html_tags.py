"""HTML tags in a model's text: which are known, and what of a text may become one.

What is not known stays, "<your name>" for one. Tags of SSML are among the known: what
isn't sent to a synthesiser that reads them must not be read out.
"""

from __future__ import annotations

import re

TAG_LIMIT = 256
"""Characters of a tag; what is longer is none."""

TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]{0,15})(?:\s[^<>\n]*)?(/?)>")
AUTOLINK = re.compile(r"<(?:mailto:)?((?:https?://[^<>\s]+)|(?:[^<>\s@:/]+@[^<>\s]+))>")
_TAG_NAME = re.compile(r"</?([A-Za-z][A-Za-z0-9-]*)")


def _names(text: str) -> frozenset[str]:
    return frozenset(re.split(r"\s+", text.strip()))


_INLINE_TAGS = _names("""
    a abbr b big cite code del em font i img ins kbd mark q s samp small span strike strong
    sub sup tt u var wbr hr input label button audio video source iframe svg path
    speak prosody emphasis voice break say-as phoneme lang
""")
BLOCK_TAGS = _names("""
    br p div li ul ol tr td th table thead tbody h1 h2 h3 h4 h5 h6 pre blockquote section
    article header footer details summary dl dt dd
""")
SILENT_TAGS = _names("think thinking reasoning script style")
TAGS = _INLINE_TAGS | BLOCK_TAGS | SILENT_TAGS


def may_be_tag(begun: str) -> bool:
    """Whether ``begun`` may become a tag that is known, or an address in angle brackets."""
    if len(begun) >= TAG_LIMIT or not set(begun[1:]).isdisjoint("<>\n"):
        return False
    if begun in ("<", "</", "<!", "<!-"):
        return True
    name = _TAG_NAME.match(begun)
    if name is None:
        return False
    if name.end() == len(begun):
        return True
    if begun[name.end()].isspace() or begun[name.end()] == "/":
        return name[1].lower() in TAGS
    return not begun[1:].isspace() and " " not in begun
