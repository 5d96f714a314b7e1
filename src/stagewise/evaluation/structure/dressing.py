r"""Arithmetic out of its dress: LaTeX, Markdown, typography and words become plain signs.

    undressed(r"$\dfrac{5}{100} \times 350 = 17.5$")    ->  "((5)/(100)) × 350 = 17.5"
    undressed("so 17 modulo 5 plus 1 = **3**")           ->  "so 17 mod 5 + 1 = 3"
    undressed("5 cm × 4 cm = 20 cm²")                    ->  "5 cm × 4 cm = 20 cm^(2)"

What it does not know stays, and the reader of arithmetic gives it no value.
"""

import html
import re
import unicodedata

_NESTED = 8  # levels of \frac{\sqrt{\text{…}}}{…}
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_FRACTIONS = {sign: unicodedata.normalize("NFKC", sign).replace("⁄", "/") for sign in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
_ENTITY = re.compile(r"&#?\w+;")
_BRACES = r"\s*\{([^{}]*)\}"
_OPERAND = r"(?=\s*(?:-?\.?\d|[(√∛]))"  # what has to follow a word that calculates

# A number by itself: `twice 6 = 12`, but `twice 6 + 1 = …` may be meant in two ways.
_ALONE = r"(\d+(?:,\d{3})*(?:\.\d+)?)(?=(?: [^\W\d]+){0,2}\s*[=≈])"

# Each is done once, in this order.
_LATEX = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # A calculator's annotations (GSM8K): after an equals sign they say the same again.
        (r"([=≈]\s*[$€£¥]?\s*)<<[^<>\n]*=[^<>\n]*>>", r"\1"),
        (r"<<([^<>\n]*=[^<>\n]*)>>", r"\1; "),
        (r"(\$|\\[(\[])\s*-\s+(?=\d)", r"\1-"),  # a minus, where at the start of a line it would be a dash
        (r"\\\\(?:\[[^\]\n]*\])?(?:[ \t]*\n)?", "\n"),
        (r"\\(?:begin|end)\{[^{}]*\}", " "),
        (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle)(?![a-zA-Z])", ""),
        (r"\\(?:q?quad(?![a-zA-Z])|[,;!: ])", " "),
        (r"\{,\}", ","),
        (r"\\(?:times|cdot|ast)(?![a-zA-Z])", "×"),
        (r"\\div(?![a-zA-Z])", "÷"),
        (r"\\pm(?![a-zA-Z])", "±"),
        (r"\\(?:approx|simeq)(?![a-zA-Z])", "≈"),
        (r"\\neq?(?![a-zA-Z])", "≠"),
        (r"\\leq?(?![a-zA-Z])", "≤"),
        (r"\\geq?(?![a-zA-Z])", "≥"),
        (r"\\[lcd]?dots(?![a-zA-Z])", "…"),
        (r"\\(?:to|implies|[rR]ightarrow)(?![a-zA-Z])", "→"),
        (r"\\b?mod(?![a-zA-Z])", "mod"),
        (r"\\pmod" + _BRACES, r"(mod \1)"),
        (r"\^\s*(?:\\circ(?![a-zA-Z])|\{\s*\\circ\s*\})", "°"),
        (r"\\%", "%"),
        (r"\\\$", ""),
        (r"\\[()\[\]]", " "),
        (r"&(?=\s*[=≈])", ""),
        (r"\\[dtc]?frac\s*(\d)\s*(\d)", r"((\1)/(\2))"),
        (r"\\sqrt\s*(\d)", r"√\1"),
    )
)
# The innermost first, again and again: their braces may hold one another.
_NESTING = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (
            r"\\(?:text|mathrm|mathbf|mathit|textbf|textit|emph|operatorname|boxed|fbox|mbox|underline)" + _BRACES,
            r" \1 ",
        ),
        (r"\\[dtc]?frac" + 2 * _BRACES, r"((\1)/(\2))"),
        (r"\\sqrt\s*\[\s*3\s*\]" + _BRACES, r"∛(\1)"),
        (r"\\sqrt" + _BRACES, r"√(\1)"),
        (r"\^" + _BRACES, r"^(\1)"),
    )
)
_PLAIN = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"(?<=[\w)])\*\*(?=[\w(-])|(?<=[\w)]) \*\* (?=[\w(-])", "^"),  # Python's power; all others are bold
        (r"\*\*|__|`", ""),
        (r"(?m)(^|;)[ \t]*//+(?=\s)", r"\1"),  # a comment
        (r"[ \t]+\^", "^"),
        (r"[$€£¥]", ""),
        (r"¢", " cents"),
        (r"°", " degrees "),
        (r"[−‐‑–]", "-"),
        (r"[*·∙⋅∗✕✖⨯]", "×"),
        (r"[/∕⁄]", "÷"),
        (r"(?<!_)[{\[]", "("),
        (r"(?<!_)[}\]]", ")"),
        (r"\s*\bper\s?cent\b", "%"),
        (r"\b(?:times|multiplied by)\b" + _OPERAND, "×"),
        (r"\bdivided by\b" + _OPERAND, "÷"),
        (r"(?<=[\d)])\s+over\b(?=\s+[\d.]+\s*(?:[-+×÷=≈)]|$))", " ÷"),
        (r"\bplus\b" + _OPERAND, "+"),
        (r"\bminus\s+" + _OPERAND, "-"),
        (r"\bnegative\s+(?=\d)", "-"),
        (r"\bmod(?:ulo|ulus)?\b" + _OPERAND, "mod"),
        (r"(?:\bthe\s+)?\bsquare root of\b(?=\s*[(\d])|\bsqrt(?=\s*[(\d])", "√"),
        (r"(?:\bthe\s+)?\bcube root of\b(?=\s*[(\d])|\bcbrt(?=\s*[(\d])", "∛"),
        (r"(?<=[\d)])\s+squared\b", "^2"),
        (r"(?<=[\d)])\s+cubed\b", "^3"),
        (r"(?<=[\d)])\s+(?:raised )?to the power(?: of)?\s+(?=[-(\d])", "^"),
        (r"(?<=[\d)])\s+(?:raised )?to the (\d+)(?:st|nd|rd|th) power\b", r"^\1"),
        # After what calculates: "1/4 equals 15" tells of a quarter of something.
        (r"((?:[-+×^]|\s÷\s)\s*\(?[\d.,]*\d\)?(?: [^\W\d]+){0,2}\s+)equals\b" + _OPERAND, r"\1="),
        *(
            (rf"(?<![-\w])(?<!\band )(?:(?:a|one) )?{word} of (?:the )?{_ALONE}", rf"({share}×\1)")
            for word, share in (("half", "1÷2"), ("third", "1÷3"), ("quarter", "1÷4"), ("fifth", "1÷5"))
        ),
        *(
            (rf"(?<![-\w])(?:{word}) {_ALONE}", rf"({factor}×\1)")
            for word, factor in (("twice|double", "2"), ("triple|thrice", "3"))
        ),
    )
)


_MIXED = re.compile(r"(?<![\w.,/^)])(\d+)\s*\\[dtc]?frac" + 2 * r"\s*\{\s*(\d+)\s*\}")


def undressed(output: str) -> str:
    text = _ENTITY.sub(lambda found: html.unescape(found[0]), output)
    text = unicodedata.normalize("NFC", text).translate(_FULL_WIDTH)
    text = _MIXED.sub(_mixed, _rewritten(text, _LATEX))
    for _ in range(_NESTED):
        before, text = text, _rewritten(text, _NESTING)
        if text == before:
            break
    text = re.sub(rf"(?:(?<![\w.,/^)])(\d+)\s?)?([{''.join(_FRACTIONS)}])", _fraction, text)
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda found: f"^({found[0].translate(_SUPERSCRIPT)})", text)
    return _rewritten(text, _PLAIN)


def _rewritten(text: str, rules: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def _mixed(found: re.Match[str]) -> str:
    r"""2\frac{1}{2}; what is no proper fraction is a factor."""
    whole, top, bottom = found.groups()
    return f"({whole}+{top}/{bottom})" if int(top) < int(bottom) else f"{whole}(({top})/({bottom}))"


def _fraction(found: re.Match[str]) -> str:
    """½, and 1½."""
    return f"({found[1]}+{_FRACTIONS[found[2]]})" if found[1] else f"({_FRACTIONS[found[2]]})"
