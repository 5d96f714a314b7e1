"""Reads one arithmetic expression out of words, and gives its exact value.

    read(tokenized("3 apples × 2 dollars/apple"), 0)  ->  (Side(value=6, …), 7)

    sum     = product {("+" | "-") product}
    product = power {("×" | "of" | "÷" | "mod") power | "(" sum ")" | root}
    power   = {"+" | "-"} atom {"!"} ["^" power] ["%"] units
    atom    = number | "(" sum ")" | root
    root    = ("√" | "∛") atom

Units are up to three words and "/" with a word: a value says nothing of them. What has no value raises `NoValue`,
such as a variable, or a root that is no fraction. A spelling that may be meant in another way is read in one way and
marked as doubtful; what the two sides have to be held together for is marked by its own name.
"""

import math
from fractions import Fraction

import regex

from stagewise.evaluation.structure.context import opens_remark
from stagewise.evaluation.structure.exact import LONGEST_NUMBER, NoValue, bounded, exact_root
from stagewise.evaluation.structure.side import Side
from stagewise.evaluation.structure.signs import LONGEST, THIN, Token
from stagewise.evaluation.structure.vocabulary import (
    CONSTANTS,
    LINKS,
    NO_UNITS,
    NUMBERED,
    PER,
    REMAINDER,
    SCALES,
    SHORT_SCALES,
    SHORT_UNITS,
    UNIT_LETTERS,
    is_cased,
    singular,
)

LARGEST_POWER = 64
LARGEST_FACTORIAL = 20
UNIT_WORDS = 3  # "12 cookies per batch"

_SAID_REMAINDER = regex.compile(  # in tokens with a space between
    r"(?:, )?(?P<bracket>\( )?(?:(?:with|and) )?(?:(?:a|the) )?(?:(?:(?:…|\.{3,}) )+(?P<dots>\d{1,20})|"
    r"(?:(?i:remainder|rem)|[rR])(?: \.)?(?: of| is| :| =)? (?P<first>\d{1,20})"
    r"|(?P<last>\d{1,20})(?: \p{L}+)? (?:remaining|left|leftover)(?: over)?)(?! [÷×^])(?(bracket) \))(?!\S)"
)
_CLOCK = regex.compile(r"0\d{3}")  # 0930
_SEPARATORS = dict.fromkeys(map(ord, f",{THIN}"))
_GROUP = regex.compile(r"\d{3}(?:\.\d+)?")


def read(tokens: list[Token], start: int) -> tuple[Side, int]:
    """The longest expression from `start` on, and the index behind it. Raises `NoValue`."""
    reader = _Reader(tokens, start)
    try:
        value = reader.sum()
    except ZeroDivisionError as error:
        raise NoValue from error
    return reader.side(value), reader.index


class _Reader:
    def __init__(self, tokens: list[Token], start: int) -> None:
        self.tokens, self.start, self.index, self.depth = tokens, start, start, 0
        self.last_place: Fraction | None = None
        self.units, self.rates, self.letters, self.scale = set[str](), set[str](), set[str](), 1
        self.calculates = self.multiplies = self.divides = self.adds = self.cut = self.bare = False
        self.beside = self.paired = self.doubtful = False
        self.hundred = self.hundredfold = self.percents = self.is_percent = False  # anywhere; what was read last
        self.division: tuple[Fraction, Fraction] | None = None
        self.modulus: Fraction | None = None

    def side(self, value: Fraction) -> Side:
        remainder = self._remainder()
        place = self.last_place or Fraction(1)
        return Side(
            value=value,
            calculates=self.calculates,
            multiplies=self.multiplies,
            divides=self.divides,
            adds=self.adds,
            last_place=place / 100 if self.percents else place,
            cut=self.cut,
            units=frozenset(self.units),
            rates=frozenset(self.rates),
            letters=frozenset(self.letters),
            bare=self.bare,
            percents=self.percents,
            hundred=self.hundred,
            hundredfold=self.hundredfold,
            scale=self.scale,
            beside=self.beside,
            paired=self.paired,
            doubtful=self.doubtful,
            division=self.division,
            modulus=self.modulus,
            remainder=remainder,
        )

    def sum(self) -> Fraction:
        total = self._product()
        percent = self.is_percent
        while sign := self._take("+", "-"):
            term = self._product()
            self.doubtful |= percent != self.is_percent and total != 1  # 50 + 20% is 60 to some
            total += term if sign == "+" else -term
            self.calculates, self.adds, self.division = True, True, None
        return total

    def _product(self) -> Fraction:
        total, last = self._power(), ""
        division = modulus = None
        wide = False  # the last sign had a space before it
        while factor := self._factor():
            sign, by, spelled, spaced = factor
            # To some 60 / 3/4 is 80, and 6 / 2(1 + 2) is 1.
            self.doubtful |= last == "÷" and (not spelled or sign == "mod" or (sign == "÷" and wide and not spaced))
            wide = spaced
            self.calculates, self.multiplies, self.is_percent = True, True, False
            self.divides |= sign == "÷"
            self.hundredfold |= sign == "×" and 100 in (total, by)
            division, modulus = (total, by) if sign == "÷" and not last else None, by if sign == "mod" else None
            total = bounded(total * by if sign == "×" else total / by if sign == "÷" else total % by)
            last = sign
        if not self.depth:
            self.division, self.modulus = division, modulus
        return total

    def _factor(self) -> tuple[str, Fraction, bool, bool] | None:
        """Its sign, its value, whether the sign is spelled, and whether a space stands beside it."""
        token, last = self._next(), self.tokens[self.index - 1]
        if token and (sign := self._take("×", "of", "÷", "mod", "%%")):
            after = self._next()
            spaced = token.spaced or (after is not None and after.spaced)
            return {"of": "×", "%%": "mod"}.get(sign, sign), self._power(), True, spaced
        if token is None or last.kind == "word":
            return None
        opens = token.kind == "sign" and token.text in ("(", "√", "∛")
        if not opens and not (token.kind == "number" and (last.text == ")" or (last.text == "!" and not token.spaced))):
            return None
        if token.text == "(" and token.spaced and opens_remark(self.tokens, self.index):
            return None
        before = self.__dict__ | {name: set(getattr(self, name)) for name in ("units", "rates", "letters")}
        try:
            by = self._power()
        except NoValue:  # (R2)
            self.__dict__.update(before)
            return None
        self.beside |= opens and token.spaced
        self.doubtful |= last.text == "%"  # 1000 % (1/2): a percent of it, or what it leaves
        self.doubtful |= not opens and token.spaced  # (2) 5 - 1
        return "×", by, False, token.spaced

    def _power(self) -> Fraction:
        negative = False
        while sign := self._take("-", "+"):
            negative ^= sign == "-"
        value = self._atom()
        while self._follows("!") and self._take("!"):
            if value.denominator != 1 or not 0 <= value <= LARGEST_FACTORIAL:
                if (after := self._next()) and after.kind in ("number", "sign"):
                    raise NoValue
                break  # "25!" at the end of a sentence
            value, self.calculates = Fraction(math.factorial(value.numerator)), True
        if self._take("^"):
            exponent, self.calculates = self._power(), True
            if exponent.denominator != 1 or abs(exponent) > LARGEST_POWER:
                raise NoValue
            value = bounded(value**exponent.numerator)
        self.is_percent = self._take("%") is not None
        if self.is_percent:
            self.hundred |= value == 100
            value, self.percents = value / 100, True
        self._skip_units()
        return -value if negative else value

    def _atom(self) -> Fraction:
        if self._take("("):
            self.depth += 1
            value = self.sum()
            self.depth -= 1
            if not self._take(")"):
                raise NoValue
            return value
        if root := self._take("√", "∛"):
            self.calculates = True
            return exact_root(self._atom(), 2 if root == "√" else 3)
        return self._number()

    def _number(self) -> Fraction:
        token, place = self._next(), self.index
        if token is None or token.kind != "number" or len(token.text) > LONGEST_NUMBER or _CLOCK.fullmatch(token.text):
            raise NoValue
        self.index += 1
        digits, _, exponent = self._grouped(token.text).lower().partition("e")
        decimals = len(digits.partition(".")[2])
        if decimals and self._follows("...", "…"):
            self.index += 1
            self.cut = True
        worth = self._scale() * Fraction(10) ** int(exponent or 0)
        if self.last_place is None:
            self.last_place = worth / 10**decimals
        return bounded(Fraction(digits) * worth + (self._mixed(place) if worth == 1 and not decimals else 0))

    def _grouped(self, text: str) -> str:
        """The digits of a number; those of 12 345 may also be of two."""
        plain, named = len(text) <= 3 and text.isdigit(), self._is_named(self.index - 1)
        while plain and (token := self._next()) and token.spaced and _GROUP.fullmatch(token.text):
            self.index += 1
            text += token.text
            plain, self.paired = "." not in token.text, True
            # "Step 1 345 + …"; 2 148/301 is also two and a part.
            self.doubtful |= named or self._is_part(self.tokens[self.index - 1 : self.index + 2])
        return text.translate(_SEPARATORS)

    def _mixed(self, place: int) -> Fraction:
        """The fraction of 2 1/2, and of 2 and 1/2."""
        after = self.tokens[self.index : self.index + 5]
        link = int(bool(after) and after[0].text in ("and", "&"))
        fraction, after = after[link : link + 3], after[link + 3 :]
        goes_on = bool(after) and not after[0].spaced and after[0].text in ("÷", "^", "!", "(")
        if goes_on or not self._is_part(fraction):
            return Fraction(0)
        top, _, bottom = fraction
        self.index += link + 3
        self.paired = True
        self.doubtful |= self._is_named(place)  # "Step 1 1/2 + …"
        return Fraction(int(top.text), int(bottom.text))

    def _is_part(self, tokens: list[Token]) -> bool:
        """They are a fraction below one, written together: the 1/2 of 2 1/2."""
        if [token.kind for token in tokens] != ["number", "sign", "number"]:
            return False
        top, slash, bottom = tokens
        together = slash.text == "÷" and top.spaced and not slash.spaced and not bottom.spaced
        digits = all(regex.fullmatch(r"[1-9]\d{0,8}", token.text) for token in (top, bottom))
        return together and digits and int(top.text) < int(bottom.text)

    def _is_named(self, place: int) -> bool:
        """The number at `place` may be the name of something: `Step 1`."""
        before = self.tokens[place - 1] if place else None
        return before is not None and before.kind == "word" and singular(before.text.lower()) in NUMBERED

    def _scale(self) -> Fraction:
        scale = 1
        while (token := self._next()) and token.kind == "word" and token.text.lower() in SCALES:
            scale *= SCALES[token.text.lower()]
            self.index += 1
        if scale == 1 and token and not token.spaced and token.text in SHORT_SCALES:
            scale = SHORT_SCALES[token.text]
            self.letters.add(token.text)
            self.index += 1
        self.scale = max(self.scale, scale)
        return Fraction(scale)

    def _skip_units(self) -> None:
        words, found = 0, self.units
        while words < UNIT_WORDS and (token := self._next()) and token.kind == "word" and self._is_unit(token, words):
            lower = token.text.lower()
            if lower in PER:
                found = self.rates
            found.add(token.text if len(token.text) == 1 else lower)
            if not token.spaced and token.text in UNIT_LETTERS:
                self.letters.add(token.text)
            self.index += 1
            words += 1
            self._skip_exponent()
        while self._next_are("÷", "word"):
            below, spaced = self.tokens[self.index + 1], self.tokens[self.index].spaced
            if (spaced and not words) or not self._is_unit(below, words):
                raise NoValue  # 24/y, 100 / total
            self.rates.add(below.text if len(below.text) == 1 else below.text.lower())
            self.index += 2
            words += 1
            self._skip_exponent()
        self.bare |= not words and self.tokens[self.index - 1].text not in SHORT_SCALES

    def _is_unit(self, token: Token, words: int) -> bool:
        """`words`: how many words stand before it. Raises `NoValue` for a variable."""
        text, lower = token.text, token.text.lower()
        if lower in NO_UNITS or (text in REMAINDER and self._kinds(1) == ["number"]):
            return False
        if lower in LINKS:
            return (words > 0 or lower != "of") and self._kinds(1) != ["number"]
        if len(text) == 1 and is_cased(text) and text not in UNIT_LETTERS and not (lower == "a" and token.spaced):
            if words:
                return False
            raise NoValue
        if lower in CONSTANTS or (not token.spaced and len(text) == 2 and is_cased(text) and text not in SHORT_UNITS):
            raise NoValue
        return True

    def _skip_exponent(self) -> None:
        """That of a unit, cm^2 or s^(-1)."""
        if not self._follows("^"):
            return
        ahead = [token.text for token in self.tokens[self.index + 1 : self.index + 5]]
        for length in (1, 2, 3, 4):
            if regex.fullmatch(r"-?\d|\(-?\d\)", "".join(ahead[:length])):
                self.index += 1 + length
                return

    def _remainder(self) -> Fraction | None:
        """`7 remainder 1`, `7 R1`, `7 (remainder 1)`, `7 with a remainder of 1`, `7 with 1 left over`."""
        ahead = self.tokens[self.index : self.index + 9]
        said = " ".join(token.text for token in ahead)
        if (found := _SAID_REMAINDER.match(said)) is None:
            return None
        self.index += len(found[0].split())
        return Fraction(found["dots"] or found["first"] or found["last"])

    def _take(self, *signs: str) -> str | None:
        token = self._next()
        if token is None or token.kind != "sign" or token.text not in signs:
            return None
        self.index += 1
        return token.text

    def _follows(self, *texts: str) -> bool:
        """What is next is one of these, and touches what was read."""
        token = self._next()
        return token is not None and token.text in texts and not token.spaced

    def _next_are(self, sign: str, kind: str) -> bool:
        ahead = self.tokens[self.index : self.index + 2]
        return len(ahead) == 2 and ahead[0].text == sign and ahead[1].kind == kind

    def _kinds(self, after: int) -> list[str]:
        return [token.kind for token in self.tokens[self.index + after : self.index + after + 1]]

    def _next(self) -> Token | None:
        if self.index - self.start > LONGEST:
            raise NoValue
        return self.tokens[self.index] if self.index < len(self.tokens) else None
