r"""The process in which expressions are compared: a pair in as a line of JSON, `true` or `false` out.

    ["\\frac{1}{2}", "0.5", 5]  ->  true

The third is how many seconds of processor time the question may cost: past them the kernel ends this process.
`verifier` starts this file by its path, so it imports nothing of stagewise.
"""

import json
import logging
import math
import resource
import sys
import time

from math_verify import parse, verify


def equal(answer: str, expected: str) -> bool:
    try:
        # The time limits here rest on signals, which sympy's C code does not see.
        gold, found = (parse(_delimited(text), parsing_timeout=None) for text in (expected, answer))
        return bool(verify(gold, found, timeout_seconds=None))
    except MemoryError:  # like too much time, it says nothing of the answer
        raise
    except Exception:  # whatever sympy raises on words that a model made up, they are not the answer
        return False


def _delimited(text: str) -> str:
    return text if "$" in text or r"\boxed" in text else f"${text}$"


def _allow(seconds: int) -> None:
    """The kernel counts from the start of the process, in whole seconds."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    limit = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    logging.disable()  # it warns that it has no time limit
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    equal(r"\frac{1}{2}", "0.5")  # what sympy and the parser load and build at their first question
    print("ready", flush=True)
    for line in sys.stdin:
        answer, expected, seconds = json.loads(line)
        _allow(seconds)
        print(json.dumps(equal(answer, expected)), flush=True)
