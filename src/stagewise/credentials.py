"""Tokens, passwords and home folders, kept out of the record: found, refused or taken out. Pure but for os.environ.

    kind_of("-P config=https://<name>:<password>@example.org/c")  "a URL with a name or password in it"
    redact("origin https://<name>:<password>@example.org/x.git")  ("origin https://***@example.org/x.git", 1)
    without_home("/home/alice/data/eval.jsonl")                   "~/data/eval.jsonl"

The shapes are those of common services; besides, the value of any environment variable that is named like a
secret (HF_TOKEN, OPENAI_API_KEY) is one, whatever it looks like. (The examples are written so that this file is
not taken to hold one.)
"""

import os
import re
from pathlib import Path

HIDDEN = "***"
NAMED = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|KEY)$", re.IGNORECASE)
SHORTEST = 8  # characters of an environment variable's value: shorter ones are words such as `true`
QUERY = r"\w*token|auth|authorization|jwt|\w*api_?key|key|passw(?:or)?d|pwd|\w*secret|sig|signature"
# The named group `secret` is what is taken out.
SHAPES = {
    # Up to the last @ before the path: a password may hold one.
    "a URL with a name or password in it": r"(?<=://)(?P<secret>[^/\s\"'<>]+)(?=@)",
    "a URL with a token in it": rf"(?i:[?&;#](?:{QUERY}|x-amz-\w+|x-goog-\w+)=)(?P<secret>[^&#;\s\"'<>]+)",
    "a private key": r"(?P<secret>-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z))",
    "a Bearer token": r"(?i:bearer|authorization:\s*basic)\s+(?P<secret>[A-Za-z0-9._~+/-]{16,}=*)",
    "an access token": r"\b(?P<secret>(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{30,}|pypi-[\w-]{40,}|npm_[A-Za-z0-9]{30,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+))",
}


def _from_environment() -> list[str]:
    named = (value for name, value in os.environ.items() if NAMED.search(name))
    return sorted((value for value in named if len(value) >= SHORTEST), key=len, reverse=True)


def kind_of(text: str) -> str | None:
    """What kind of credential stands in the text, in words that do not show it; None where none does."""
    for kind, shape in SHAPES.items():
        found = re.search(shape, text)
        if found and found["secret"] != HIDDEN:
            return kind
    return "the value of a secret environment variable" if any(value in text for value in _from_environment()) else None


def line_of(text: str) -> tuple[int, str] | None:
    """The number of the first line that holds a credential, and its kind."""
    for number, line in enumerate(text.splitlines(), 1):
        if kind := kind_of(line):
            return number, kind
    return None


def redact(text: str) -> tuple[str, int]:
    """The text with `***` for every credential in it, and how many there were."""
    count = 0

    def hide(match: re.Match[str]) -> str:
        nonlocal count
        if match["secret"] == HIDDEN:
            return match[0]
        count += 1
        start, end = (place - match.start() for place in match.span("secret"))
        return match[0][:start] + HIDDEN + match[0][end:]

    for shape in SHAPES.values():
        text = re.sub(shape, hide, text)
    for value in _from_environment():
        count += text.count(value)
        text = text.replace(value, HIDDEN)
    return text, count


def without_home(text: str) -> str:
    """The text with `~` for the user's home folder, which names the user; `Path.expanduser` reads it back."""
    home = str(Path.home()).rstrip("/")
    return re.sub(rf"(?<![\w./~-]){re.escape(home)}(?=/|$|\b)", "~", text) if home else text


def public(text: str) -> str:
    """A text as a record may hold it."""
    return without_home(redact(text)[0])
