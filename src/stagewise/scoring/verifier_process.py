r"""The process in which expressions are compared: a pair in as a line of JSON, `true` or `false` out.

    ["\\frac{1}{2}", "0.5"]  ->  true

`verifier` starts this file by its path, so it imports nothing of stagewise.
"""

import json
import logging
import sys

from math_verify import parse, verify


def equal(answer: str, expected: str) -> bool:
    try:
        # The time limits here rest on signals, which sympy's C code does not see; `verifier` has its own.
        gold, found = (parse(_delimited(text), parsing_timeout=None) for text in (expected, answer))
        return bool(verify(gold, found, timeout_seconds=None))
    except Exception:  # whatever sympy raises on words that a model made up, they are not the answer
        return False


def _delimited(text: str) -> str:
    return text if "$" in text or r"\boxed" in text else f"${text}$"


if __name__ == "__main__":
    logging.disable()  # it warns that it has no time limit
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(equal(*json.loads(line))), flush=True)
