"""Whether an expression is whole where it stands, or torn out of something longer.

begins(tokenized("x1 + 3"), 1, "")         ->  False: 1 belongs to x1
begins(tokenized("twice 3 + 1"), 1, "")    ->  False
begins(tokenized("so 3 + 1"), 1, "")       ->  True
ends(tokenized("7 or 8"), 1, "")           ->  False
"""

import unicodedata

from stagewise.evaluation.structure.signs import LONGEST, Token
from stagewise.evaluation.structure.vocabulary import (
    ADDING,
    BREAKS,
    CHANGING,
    CLOCKS,
    GOING_ON,
    JOINING,
    LIGHT,
    NAMING,
    NO_UNITS,
    NUMBERED,
    NUMBERS,
    OPERATORS,
    PARTS,
    PLACES,
    REMAINDER,
    SCALING,
    WITHIN,
    is_cased,
    is_measure,
    singular,
)

LONGEST_SUM = 12  # tokens, from `add` to what is added to


def begins(tokens: list[Token], start: int, above: str) -> bool:
    """Whether an expression may begin at `start` of a line; `above` is the last sign of the line before, or nothing."""
    token = tokens[start]
    if token.kind not in ("number", "sign") or token.text in ("+", "×", "÷", "^", ")", "%", "!", "mod", "of", "%%"):
        return False
    if token.text == "-" and (start + 1 == len(tokens) or tokens[start + 1].spaced):
        return False  # a dash
    if not start:
        return above not in OPERATORS and not _is_label(tokens)
    before = tokens[start - 1]
    if before.kind == "equals":
        return True
    if before.kind == "number":
        return token.spaced and _said_equal(tokens, start - 1) and token.kind == "number"
    if before.kind == "word":
        if token.kind == "number" and _is_name(tokens, start):
            return False
        return (token.spaced or not is_cased(before.text)) and not _binds(tokens, start - 1, above)
    if before.kind == "sign":
        return _after_sign(tokens, start, above)
    return _after_mark(tokens, start)


def _said_equal(tokens: list[Token], place: int) -> bool:
    """The number at `place` is the result of an equation, so that something new may begin behind it."""
    for before in range(place - 1, -1, -1):
        if tokens[before].kind in ("equals", "other"):
            return tokens[before].kind == "equals"
    return False


def _numbers(token: Token) -> bool:
    """What follows this word is a name: `Step 2`."""
    return token.kind == "word" and singular(token.text.lower()) in NUMBERED


def _is_name(tokens: list[Token], place: int) -> bool:
    """The number at `place` names the thing before it: `Step 2 - 3 × 4`, `pages 10-20`, `on day 1 × 2`, but not
    `each day 3 × 2`, and no number of days."""
    if not _numbers(tokens[place - 1]) or place + 1 == len(tokens):
        return False
    before = tokens[place - 2] if place > 1 else None
    named = before is None or before.kind != "word" or before.text.lower() in PLACES
    sign = tokens[place + 1].text
    return sign == "-" or (sign in OPERATORS and named and tokens[place - 1].text.lower() in NUMBERED)


def _is_label(tokens: list[Token]) -> bool:
    """The line begins with `(1) `, and then something that calculates: the number of a list, and no factor."""
    if [token.text for token in tokens[0:3:2]] != ["(", ")"] or len(tokens) < 5 or not tokens[3].spaced:
        return False
    negative = tokens[3].text == "-" and not tokens[4].spaced
    follows = tokens[3].kind == "number" or tokens[3].text in ("(", "√", "∛") or negative
    return follows and tokens[1].text.isdigit() and len(tokens[1].text) <= 2


def _after_sign(tokens: list[Token], start: int, above: str) -> bool:
    token, before = tokens[start], tokens[start - 1].text
    if before == "(":
        return begins(tokens, start - 1, above)
    if before == "!":
        return token.spaced and start > 1 and tokens[start - 2].kind == "word"
    if before == ")":
        factor = token.text == "(" and start == 3 and _is_label(tokens)  # "(2) (3 + 1)" may be one
        return token.spaced and not factor and _is_remark(tokens, start - 1)
    if before == "-" and start > 2 and tokens[start - 1].spaced and tokens[start - 2].kind == "number":
        return token.spaced and _numbers(tokens[start - 3])  # Step 2 - 3 × 4
    return start == 1 and before in "-×" and token.spaced  # the dash of a list


def _is_remark(tokens: list[Token], close: int) -> bool:
    """The bracket that closes here holds a label, `(1)` or `a)` at the start of a line, or words without a number."""
    opened = next((place for place in range(close - 1, -1, -1) if tokens[place].text == "("), -1)
    inside = tokens[opened + 1 : close]
    words = any(token.kind == "word" and len(token.text) > 1 for token in inside)
    step = opened == -1 and len(inside) == 2 and _numbers(inside[0])  # Step 1)
    return (
        step
        or (close <= 2 and len(inside) == 1)
        or (words and all(token.kind in ("word", "other") for token in inside))
    )


def _after_mark(tokens: list[Token], start: int) -> bool:
    token, mark = tokens[start], tokens[start - 1]
    before = tokens[start - 2] if start > 1 else None
    symbol = unicodedata.category(mark.text[0]) == "So" and token.spaced and mark.text not in "□○△▢◯"  # ✓, 👉
    if mark.text not in BREAKS and not symbol:
        return False
    if (mark.text == "|" and not token.spaced) or (mark.text == "_" and not mark.spaced):
        return False
    if before is not None and before.kind == "sign" and before.text in OPERATORS and start > 2:
        return False  # 8 + . 84
    if before is None or before.kind not in ("number", "sign"):
        return not (before and before.text == mark.text and mark.text in "<>")  # a shift
    if mark.text in WITHIN and not token.spaced:
        return False  # 3:15, 1,5
    if mark.text == "." and mark.spaced and not _said_equal(tokens, start - 2):
        return False  # 3 . 84
    if mark.text == ":":
        return not mark.spaced  # "Step 1: 3 + 4", but not "15 : 3 + 1"
    if mark.text in ("…", "..."):
        return before.text in (")", "!")  # 1 + 2 + … 9 + 10
    listed = start > 2 and tokens[start - 3].text in (",", "and", *OPERATORS)
    grouped = len(token.text) == 3 and token.text.isdigit()
    return mark.text != "," or _said_equal(tokens, start - 2) or not (listed or grouped)  # "1, 2, 3 + 4", "14, 400"


def _binds(tokens: list[Token], last: int, above: str) -> bool:
    """The words that end with `last` make one thing of what follows and what stands before."""
    first = last
    while first and tokens[first - 1].kind == "word":
        first -= 1
    words = [token.text.lower() for token in tokens[first : last + 1]]
    before = tokens[first - 1] if first else None
    variable = len(words[-1]) == 1 and is_cased(words[-1]) and words[-1] not in ("a", "i")
    by = words[-1] == "by" and not SCALING.isdisjoint(words)
    if variable or by or words[-1] in REMAINDER or _changes(words):
        return True
    if before is None:
        return above in OPERATORS
    dash = before.text in ("-", "×") and first == 1  # of a list
    unit = before.text == "÷" and not tokens[first].spaced and len(words) > 1  # "10/hour so 7 × 10"
    hyphen = before.text == "-" and not before.spaced and not tokens[first].spaced  # "the 40%-full tire"
    if not (dash or unit or hyphen) and before.kind == "sign" and before.text in OPERATORS:
        return True  # "Week 1 + Week 2"
    if before.kind == "number" and len(words) == 1 and is_measure(words[0]):
        return True  # 1 hour 30 minutes
    if before.kind == "number" or before.text == "%":
        put = words[: -1 if words[-1] in LIGHT else None]
        if len(words) <= 3 and put[-1:] in (["to"], ["from"]) and _adds(tokens, first):
            return True  # add 20 + 10 lights to the 29 + 24
        return _joins(words) and (is_measure(words[0]) or not _said_equal(tokens, first - 1))
    return before.text in ("\\", "_", "@", "&")


def _joins(words: list[str]) -> bool:
    """These words between two numbers: `3 and`, `3 boys and`, `5 more than`, but not `10 bills amount to`."""
    close = words[-1] in JOINING and len(words) <= 1 + (words[-1] in ("and", "or", "with"))
    return close or (words[-1] == "than" and len(words) <= 4)


def _adds(tokens: list[Token], end: int) -> bool:
    """A word not far before says that one thing is put to another or taken from it."""
    return any(token.text.lower() in ADDING for token in tokens[max(0, end - LONGEST_SUM) : end])


def _changes(words: list[str]) -> bool:
    """The last word but for light ones: `twice`, `half of the`, `three-quarters of`; a number in words, `one and`."""
    heavy = next((word for word in reversed(words) if word not in LIGHT), "")
    counted = len(words) > 1 and words[-1] in JOINING and words[-2] in NUMBERS
    return counted or any({part, singular(part)} & CHANGING for part in heavy.split("-"))


def is_named(tokens: list[Token], start: int, end: int) -> bool:
    """The expression may be meant together with the words before it: `the product of 3 + 4`, `15 div 2 + 1`."""
    first = start
    while first and tokens[first - 1].kind == "word":
        first -= 1
    words = [token.text.lower() for token in tokens[first:start] if token.text.lower() not in LIGHT]
    if not words:
        return False
    if words[-1] in NAMING:
        signs = {token.text for token in tokens[start:end] if token.text in OPERATORS}
        return signs != {NAMING[words[-1]]}
    between = start - first == 1 and first > 0 and tokens[first - 1].kind == "number"
    return between and words[0] not in NO_UNITS | CLOCKS and not _said_equal(tokens, first - 1)


def ends(tokens: list[Token], end: int, below: str) -> bool:
    """Whether what was read up to `end` does not go on; `below`: the next line's first sign."""
    if end == len(tokens):
        return below not in ("+", "÷", "^")  # others may begin a list or a root
    token = tokens[end]
    if token.kind == "equals":
        return True
    if token.kind == "number":
        named = tokens[end - 2].text.lower() in PLACES  # 5 apples on day 2
        return token.spaced and (named or not is_measure(tokens[end - 1].text))  # 1 hour 30 minutes
    if token.kind == "word":
        return _ends_before_word(tokens, end)
    after = tokens[end + 1] if end + 1 < len(tokens) else None
    if token.text == "(":
        return token.spaced and opens_remark(tokens, end)
    if token.text in (")", "!"):
        return True
    if after is not None and (after.kind == "number" or after.text == "("):
        if token.text in WITHIN and not after.spaced:
            return False  # 3:15, 1,5, 0.(3)
        if token.text in (":", "…", "...") and tokens[end - 1].kind == "number" and token.spaced:
            return False  # 15 : 3
    return token.text in BREAKS or token.text == "≠" or (token.spaced and token.text not in "±∓\\@&√∛^%+-×÷")


def _ends_before_word(tokens: list[Token], end: int) -> bool:
    word, ahead = tokens[end].text, [token.text.lower() for token in tokens[end + 1 : end + 3]]
    if not ahead:
        return True
    if tokens[end + 1].kind == "number" or ahead[0] == "-":
        if word == "with":
            return tokens[end - 1].kind == "word"  # 7 with 1 left, but not "9 paws with 3"
        compound = word == "and" and is_measure(tokens[end - 1].text)  # 1 hour and 30 minutes
        return word not in GOING_ON and not compound
    if word != "and":
        return True
    if ahead[0] == "(":  # 16 and (2/3), but not "4 and (-2)^3 = -8"
        close = closing(tokens, end + 1)
        return close is not None and close + 1 < len(tokens) and _continues(tokens[close + 1])
    return not (ahead[0] in ("a", "one") and ahead[-1] in PARTS)  # 2 and a half


def _continues(token: Token) -> bool:
    return token.kind == "equals" or token.text in OPERATORS


def closing(tokens: list[Token], opening: int) -> int | None:
    """Where the bracket closes that opens at `opening`."""
    depth = 0
    for place in range(opening, min(len(tokens), opening + LONGEST)):
        depth += (tokens[place].text == "(") - (tokens[place].text == ")")
        if not depth:
            return place
    return None


def opens_remark(tokens: list[Token], opening: int) -> bool:
    """The bracket that opens here holds words: `(2 more than before)`."""
    close = closing(tokens, opening)
    inside = tokens[opening + 1 : opening + LONGEST if close is None else close]
    return any(token.kind == "word" and len(token.text) > 1 for token in inside)
