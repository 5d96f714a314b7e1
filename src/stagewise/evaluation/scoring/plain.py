r"""A text without what only dresses it: Markdown, LaTeX's delimiters and fonts, HTML's fonts, currency, wide digits.

    undress(r"The answer is **$9{,}500**.").text    ->  "The answer is 9,500."
    undress(r"\boxed{1\text{ hour}}").text          ->  "1 hour"
    undress(r"\dfrac{1}{2}\times４").text            ->  r"\frac{1}{2}×4"

Every character knows which part of the original it came from, so a span in the plain text is one in the original.
One pass, linear in the length of the text.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

THIN = "\u2009"  # of all spaces that join the groups of a number, this one stands in a plain text
# LaTeX of one meaning in one sign. `\frac`, `\sqrt` and all that is not listed stays as it is.
_SIGNS = {
    "times": "×", "cdot": "×", "ast": "×", "div": "÷", "pm": "±", "approx": "≈", "simeq": "≈", "pi": "π",
    "infty": "∞", "colon": ":", "ldots": "…", "dots": "…", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "neq": "≠",
    "degree": "°", "textdegree": "°", "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "tan": r"\tan",
    "textdollar": "", "quad": " ", "qquad": " ", "space": " ", "thinspace": THIN, "newline": "\n",
    "left": "", "right": "", "big": "", "Big": "", "bigl": "", "bigr": "", "Bigl": "", "Bigr": "",
    "bf": "", "rm": "", "displaystyle": "", "textstyle": "", "limits": "", "hline": "", "centering": "",
    "boxed": " ", "fbox": " ",
}  # fmt: skip
# What stands in their braces is the text itself.
_WRAPPERS = re.compile(
    r"(?:text(?:bf|it|rm|sf|tt|normal|color)?|math(?:rm|bf|it|sf|tt|normal|bb)|mbox|hbox|emph|operatorname|underline"
    r"|boxed|fbox|bm|boldsymbol)\Z"
)
_TOKEN = re.compile(
    r"""
    (?=[\\^&,{}$~€£¥₹₩₽₿`*_<UACHNSREGIp\u200b-\u200d\u2060\ufeff\u20e3\u2600-\u27bf\u2b50\ufe0f\U0001f300-\U0001faff])
    (?:
      (?P<environment>\\(?:begin|end)\{(?:align|aligned|alignat|equation|gather|gathered|split|multline|eqnarray|center)\*?\})
    | \\(?P<command>[A-Za-z]+)(?P<brace>\s*\{)?
    | (?P<circ>\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\}))
    | (?P<group>\{,\}|,\\!)
    | (?P<escaped>\\[%\#&_{}])
    | (?P<space>\\[,;:\x20]|~(?!~))
    | (?P<currency>\\?\$|\b(?:US|AU?|CA?|HK|NZ|S|R)\$(?=\x20?\d)|\b(?:USD|EUR|GBP|INR|Rs\.?)\s?(?=\d)|[€£¥₹₩₽₿])
    | (?P<aligned>&(?=\s*[=≈<>≤≥]))
    | (?P<delimiter>\\[()\[\]!]|<\|(?:begin|end)_of_box\|>|```[\w+-]*|`|[\u200b\u200c\u200d\u2060\ufeff\u20e3]
        |[\u2600-\u27bf\u2b50\ufe0f\U0001f300-\U0001faff])
    | (?P<pi>\bpi\b)
    | (?P<annotation><<[^<>\n]{0,200}=[^<>\n]{0,80}>>)
    | (?P<newline>\\\\(?![A-Za-z]))
    | (?P<open>\{) | (?P<close>\})
    | (?P<power>(?<=\d)\*\*(?=[\d(])|(?<=\d\x20)\*\*\x20(?=[\d(]))
    | (?P<struck>~~[^~\n]{1,200}~~)
    | (?P<bold>\*{2,3})
    | (?P<opens>(?<![\w*)])\*(?=[^\s*][^*\n]{0,200}(?<!\s)\*(?![\w*(]))
        | (?<!\w)_(?=[^\s_][^_\n]{0,200}(?<!\s)_(?!\w))
        | (?<!\w)_{2,3}(?=[^\s_](?:[^_\n]|_(?!_)){0,200}(?<!\s)_{2,3}(?!\w)))
    | (?P<closes>(?<=[^\s*])\*(?![\w*(]) | (?<=[^\s_])_{1,3}(?![\w{(]))
    | (?P<tag></?(?:b|i|u|em|strong|span|p|div|font|mark|code|center|h[1-6])(?:\s[^<>\n]{0,100})?/?>)
    | (?P<line_break><br\s*/?>)
    | (?P<raised><sup>) | (?P<lowered></sup>)
    )
    """,
    re.VERBOSE,
)
# Amounts such as $5m: there the currency says that m is million, so it stays.
_MILLIONS = re.compile(r"[ \t]?[\d.,]+[ \t]?(?:m|mm|M|b|bn|B)\b(?!\\?\$)")
_WIDE = re.compile(f"[ \t{THIN}]{{2,}}|\n{{3,}}")
_STANDS_FOR = {"circ": "°", "group": ",", "newline": "\n", "power": "^", "line_break": "\n", "raised": "^", "pi": "π"}
_SET_BRACES = str.maketrans("{}", "  ")
_DRESSED = re.compile(
    r"[\\&{}$*`_~<€£¥₹₩₽₿\u200b-\u200d\u2060\ufeff\u20e3\u2600-\u27bf\u2b50\ufe0f\U0001f300-\U0001faff]|\b(?:USD|EUR|GBP|INR|Rs|pi)\b"
)


@dataclass(frozen=True, slots=True)
class Plain:
    text: str
    starts: Sequence[int]
    ends: Sequence[int]
    """Of each character, the part of the original that it came from."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]`, which is not empty, stands in the original."""
        return self.starts[start], self.ends[end - 1]


@lru_cache(maxsize=64)
def undress(text: str) -> Plain:
    """`text` without its dressing; an unclosed mark is taken as it comes."""
    if not text.isascii():
        text = text.translate(_NARROW)
    if _DRESSED.search(text):
        return _narrowed(_Undressing(text).done())
    return _narrowed(Plain(text, range(len(text)), range(1, len(text) + 1)))


def _narrowed(plain: Plain) -> Plain:
    """One space where there are several, as taking marks away leaves them, and one empty line: no pattern then has long
    white space to search through."""
    text, at = plain.text, 0
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for wide in _WIDE.finditer(text):
        keep = wide.start() + (2 if wide[0][0] == "\n" else 1)
        parts.append(text[at:keep])
        starts += plain.starts[at:keep]
        ends += plain.ends[at:keep]
        at = wide.end()
    if not at:
        return plain
    return Plain("".join([*parts, text[at:]]), [*starts, *plain.starts[at:]], [*ends, *plain.ends[at:]])


class _Undressing:
    def __init__(self, text: str) -> None:
        self.text = text
        self.parts: list[str] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.braces: list[str] = []
        """Of each open brace, what stands for its end."""
        self.opened: set[str] = set()
        """Marks for italics that wait for their end."""

    def done(self) -> Plain:
        at = 0
        for match in _TOKEN.finditer(self.text):
            self._keep(at, match.start())
            said = self._said(match)
            if said is None:
                self._keep(*match.span())
            else:
                self.parts.append(said)
                self.starts += [match.start()] * len(said)
                self.ends += [match.end()] * len(said)
            at = match.end()
        self._keep(at, len(self.text))
        return Plain("".join(self.parts), self.starts, self.ends)

    def _keep(self, start: int, end: int) -> None:
        self.parts.append(self.text[start:end])
        self.starts += range(start, end)
        self.ends += range(start + 1, end + 1)

    def _said(self, match: re.Match[str]) -> str | None:
        """What stands for a token in the plain text; None where it stays as it is."""
        kind, token = str(match.lastgroup), match[0]
        if match["command"]:
            return self._command(match["command"], bool(match["brace"]))
        if kind == "open":
            return self._brace("{", "}") if self._is_argument(match.start()) else self._brace("", "")
        if kind == "close":
            return self.braces.pop() if self.braces else ""
        if kind == "opens":
            self.opened.add(token)
        elif kind == "closes":
            if token not in self.opened:
                return None
            self.opened.remove(token)
        if kind == "currency":
            return "$" if _MILLIONS.match(self.text, match.end()) else ""
        if kind == "space":
            around = self.text[max(0, match.start() - 1) : match.start()] + self.text[match.end() : match.end() + 1]
            return THIN if len(around) == 2 and around.isdigit() else " "
        return _STANDS_FOR.get(kind, "") if kind != "escaped" else token[1].translate(_SET_BRACES)

    def _command(self, name: str, opens: bool) -> str | None:
        if opens and _WRAPPERS.match(name):
            return self._brace(" ", " ")
        said = _SIGNS.get(name, f"\\{name}")
        return said + self._brace("{", "}") if opens else said

    def _brace(self, said: str, end: str) -> str:
        self.braces.append(end)
        return said

    def _is_argument(self, at: int) -> bool:
        """Whether the brace belongs to a power, an index, or a command's argument before."""
        return self.text[max(0, at - 3) : at].rstrip().endswith(("^", "_", "}", "]"))


class _Narrow(dict[int, str]):
    """For `str.translate`: one character for one, made as they come."""

    _JOINED = dict.fromkeys("\u00a0\u2007\u2008\u2009\u200a\u202f", THIN) | {
        "−": "-", "‐": "-", "‑": "-", "﹣": "-", "⁄": "/", "∕": "/", "∶": ":", "·": "×", "⋅": "×", "∙": "×", "✕": "×",
        "✖": "×", "≃": "≈", "≅": "≈", "’": "'", "‘": "'", "′": "'", "“": '"', "”": '"', "″": '"', "º": "°", "٫": ".",
        "٬": ",", "\u3000": " ", "【": "[", "】": "]", "。": ".", "、": ",",
    }  # fmt: skip

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        said = self._JOINED.get(sign, sign)
        if 0xFF01 <= code <= 0xFF5E or 0x1D400 <= code <= 0x1D7FF:  # full width; the alphabets of mathematics
            said = unicodedata.normalize("NFKC", sign)
        elif code > 127 and unicodedata.category(sign) == "Nd":
            said = str(unicodedata.digit(sign))
        self[code] = said if len(said) == 1 else sign
        return self[code]


_NARROW = _Narrow()
