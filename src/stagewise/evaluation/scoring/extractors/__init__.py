"""Ways to find the answer in an output: a module each, with a function of its name.

    EXTRACTORS["gsm8k"]("48/2 = 24\\n#### 72")    ->  Extraction(text="72", rule="gsm8k", span=(15, 17))

One that reads a mark (`#### 72`) is a `Mark`.
"""

from dataclasses import replace
from typing import Any

from stagewise.errors import CodeError
from stagewise.evaluation.scoring.extraction import Extraction, Extractor, Mark
from stagewise.registry import Registry, function

__all__ = ["EXTRACTORS"]


def _own(reference: str, found: Any) -> Extractor:
    """Its extractions say that they are its own, and that they stand in the output."""
    takes = ("output", "prompt")
    find = found.find if isinstance(found, Mark) else found
    extract: Extractor = function(reference, find, takes, _is_extraction, "an Extraction or None")

    def checked(output: str, prompt: str = "") -> Extraction | None:
        extraction = extract(output, prompt)
        if extraction is None:
            return None
        start, end = extraction.span
        if not 0 <= start < end or output[start:end] != extraction.text:
            raise CodeError(
                f"{reference}: returned {extraction.text!r} with span ({start}, {end}), expected the text that stands "
                "there in the output"
            )
        return replace(extraction, rule=reference)

    return Mark(checked) if isinstance(found, Mark) else checked


def _is_extraction(value: Any) -> bool:
    return value is None or (isinstance(value, Extraction) and isinstance(value.text, str) and len(value.span) == 2)


EXTRACTORS: Registry[Extractor] = Registry("extractor", _own)
