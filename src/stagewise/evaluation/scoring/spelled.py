"""Numbers in words.

spelled("twenty-five jars", 0)             ->  (Fraction(25), 11)
spelled("one hundred and five", 0)         ->  (Fraction(105), 20)
spelled("half a dozen", 0)                 ->  (Fraction(6), 12)
spelled("half a cup", 0)                   ->  (Fraction(1, 2), 6)
spelled("two thirds", 0)                   ->  (Fraction(2, 3), 10)
spelled("five-year-old", 0)                ->  None: it is the start of a word
"""

import re
from fractions import Fraction

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_ONES += " seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
ONES = {word: number for number, word in enumerate(_ONES.split())}
TENS = {word: 10 * number for number, word in enumerate(_TENS.split(), 2)}
SCALES = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "lakh": 10**5, "crore": 10**7, "bn": 10**9, "mn": 10**6, "mln": 10**6,
}  # fmt: skip
_PARTS = {"half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8}
_PARTS |= {"tenth": 10} | {f"{part}s": size for part, size in _PARTS.items() if not part.startswith("hal")}
_LARGE = "hundred|thousand|million|billion|trillion|dozen|lakh|crore"
_NO_MORE = r"(?:no\s[a-z]+(?:\s[a-z]+)?|none)\s(?:left|remaining|remains?)"
_ONE_AND = r"(?:an?|one)\s[a-z]+\sand\sa\s(?:half|quarter)"  # an hour and a half
STARTS = (
    rf"(?:an?\s+(?:{_LARGE})|half\s+an?\b|an?\s+(?:half|quarter)|{_NO_MORE}|{_ONE_AND}"
    rf"|{'|'.join([*ONES, *TENS])})(?!\w)"
)
"""What a number in words starts with; a lone `a`, `half` or `thousand` is none."""
_STARTS = re.compile(STARTS, re.IGNORECASE)
_HALF_A = re.compile(rf"half\s+an?\b(?:\s+({_LARGE})\b(?!-))?|an?\s+(half|quarter)\b", re.IGNORECASE)
_AND_A_HALF = re.compile(r"(?:an?|one)\s[a-z]+\sand\sa\s(half|quarter)\b", re.IGNORECASE)
_NONE = re.compile(_NO_MORE, re.IGNORECASE)
_WORD = re.compile(r"([ \t\u2009]*-[ \t]*|[ \t\u2009]+|)([A-Za-z]+)(?!\w)")
MOST_WORDS = 16


def spelled(text: str, at: int) -> tuple[Fraction, int] | None:
    """Value and end of the longest number in words that stands at `at`; None where none does."""
    if not _STARTS.match(text, at):
        return None
    if half := _HALF_A.match(text, at):
        part = Fraction(1, 4 if (half[2] or "").lower() == "quarter" else 2)
        return part * (SCALES[half[1].lower()] if half[1] else 1), half.end()
    if more := _AND_A_HALF.match(text, at):
        return Fraction(3, 2) if more[1].lower() == "half" else Fraction(5, 4), more.end()
    if none := _NONE.match(text, at):
        return Fraction(0), none.end()
    counter, end, whole = _Counter(), at, at
    for _ in range(MOST_WORDS):
        match = _WORD.match(text, end)
        if not match or (end > at and not match[1]):
            break
        word, end = match[2].lower(), match.end()
        if parts := counter.parts(word):
            return parts, end
        if not counter.takes(word):
            break
        if word != "and":
            whole = end
    return (
        None if re.match(r"-\w", text[whole : whole + 2]) else (Fraction(counter.total + (counter.group or 0)), whole)
    )


class _Counter:
    """Adds number words up as English joins them, and takes no word that does not fit."""

    def __init__(self) -> None:
        self.total = 0
        self.group: int | None = None  # what a scale would multiply: 200 of `two hundred thousand`
        self.last = "start"
        self.scale = 10**15

    def takes(self, word: str) -> bool:
        fresh = self.group is None or self.last == "hundred" or (self.last == "and" and self.group % 100 == 0)
        if word in ("a", "an"):
            return self._add(1, "one", self.last == "start")
        if word == "and":
            return self._add(0, "and", self.last in ("hundred", "scale"))
        if word in ONES:
            return self._add(ONES[word], "one", fresh or (self.last == "tens" and 0 < ONES[word] < 10))
        if word in TENS:
            return self._add(TENS[word], "tens", fresh)
        return self._multiply(word)

    def parts(self, word: str) -> Fraction | None:
        """`two thirds`, where `word` is `thirds`."""
        if word not in _PARTS or self.last != "one" or self.total or not self.group or self.group >= 20:
            return None
        return Fraction(self.group, _PARTS[word]) if word.endswith("s") == (self.group > 1) else None

    def _add(self, number: int, last: str, fits: bool) -> bool:
        if fits:
            self.last = last
            self.group = self.group if last == "and" else (self.group or 0) + number
        return fits

    def _multiply(self, word: str) -> bool:
        scale = SCALES.get(word, SCALES.get(word.removesuffix("s"), 0))
        if not scale or not self.group or scale >= self.scale or (scale == 100 and self.group >= 100):
            return False
        if scale == 100:
            self.group, self.last = self.group * 100, "hundred"
        else:
            self.total, self.group, self.scale = self.total + self.group * scale, None, scale
            self.last = "dozen" if scale == 12 else "scale"
            self.scale = 0 if scale == 12 else scale
        return True
