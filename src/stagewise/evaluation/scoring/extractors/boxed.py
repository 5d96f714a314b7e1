r"""The last `\boxed{…}` or `\boxed 72`; boxes that `and`, `or` or a comma joins are one answer. MATH's convention
(hendrycks/math, `last_boxed_only_string`).
"""

import re
from collections.abc import Iterator

from stagewise.evaluation.scoring.extraction import Extraction, Mark, extraction
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.prompts import lettered, options
from stagewise.evaluation.scoring.settling import settled

LONGEST_BOX = 2000  # characters; a brace that is open for longer was never closed
_BOX = re.compile(r"\\f?boxed[ \t]*(?:(?P<brace>\{)|(?P<bare>[^\s{}$\\]+))")
_BRACE = re.compile(r"(?<!\\)[{}]")
_BOTH = re.compile(r"[\s$]*(?:,|;|and|or|\\text\{\s*(?:and|or)\s*\})[\s$]*(?:[a-zA-Z]\w?\s*=\s*)?")


@Mark
def boxed(output: str, prompt: str = "") -> Extraction | None:
    boxes = list(_boxes(output))
    if not boxes:
        return None
    last = len(boxes) - 1
    while last and _BOTH.fullmatch(output, boxes[last - 1][3], boxes[last][0]):
        last -= 1
    start, end = boxes[-1][1:3] if last == len(boxes) - 1 else (boxes[last][0], boxes[-1][3])
    plain = undress(output[start:end])
    found = settled(plain.text, bool(options(prompt))) or (0, len(plain.text))
    if not options(prompt) and lettered(plain.text):
        found = 0, len(plain.text)  # \\boxed{\\textbf{(C)}\\ 12}: of options that the prompt may show in a picture
    inner = extraction("boxed", output[start:end], plain, *found)
    return inner and Extraction(inner.text, "boxed", (start + inner.span[0], start + inner.span[1]))


def _boxes(output: str) -> Iterator[tuple[int, int, int, int]]:
    """Of each box its start, the start and the end of what is in it, and its end."""
    for match in _BOX.finditer(output):
        if match["bare"]:
            said = match["bare"].rstrip(".,;:!)")
            yield match.start(), match.start("bare"), match.start("bare") + len(said), match.start("bare") + len(said)
            continue
        depth = 1
        for brace in _BRACE.finditer(output, match.end(), match.end() + LONGEST_BOX):
            depth += 1 if brace[0] == "{" else -1
            if not depth:
                yield match.start(), match.end(), brace.start(), brace.end()
                break
