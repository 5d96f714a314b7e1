"""A line is read alike by the fast way and by the strict one, whatever stands in it."""

import json
import random
from typing import Any

import pytest

from stagewise.data.jsonl import Refused, _fast, _parsed, decoded

LINES = [
    b'{"prompt": "What is 47+38?", "steps": [{"i": 0, "type": "sum", "content": "7+8=15"}], "final_answer": "85"}',
    '{"a": {"b": [1, -2.5, true, null, "é\\n"]}, "c": "say \\"x\\": 1", "d": "数 \\\\"}'.encode(),
    b'{"id":"e-1","n":18446744073709551615,"x":-9223372036854775808,"y":0.1,"z":[[],{}],"s":"\\ud83d\\ude00"}',
]
# What JSON readers differ about: keys, numbers, escapes, white space, bytes that are no UTF-8.
FRAGMENTS = [
    *(b'"', b"\\", b"\\\\", b'\\"', b":", b" :", b",", b"{", b"}", b"[", b"]", b"\r", b"\t", b"\x00", b"\x0b", b" "),
    *(b"NaN", b"Infinity", b"-Infinity", b"nan", b"true", b"null", b"-0", b"-0.0", b"1.50", b"1e5", b"1E400", b"01"),
    *(b"1.", b".5", b"+1", b"18446744073709551616", b"-9223372036854775809", b"9" * 400, b"9" * 4400, b"1e-400"),
    *(b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\u0061", b"\\u00e9", b"\\x41", b"\\/", b"/**/", b"\xef\xbb\xbf"),
    *(b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", "é\u2028\u0085".encode(), b'"a":1,"a":2,', b'"":0,'),
    *(b'"c":1,', b'"prompt":"",', b'"\\u0061":1,', b"[" * 101 + b"]" * 101, b'{"a":' * 60 + b"1" + b"}" * 60),
]


def mutated(chance: random.Random) -> bytes:
    """A line with up to three changes: a fragment put in or in the place of something, a piece left out or doubled."""
    line = chance.choice(LINES)
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(line) + 1)
        end = min(len(line), start + chance.choice([0, 0, 1, 2, 8, 30]))
        line = line[:start] + chance.choice([*FRAGMENTS, b"", line[start:end] * 2]) + line[end:]
    return line


def verdict(read: Any, line: bytes) -> Any:
    """What was read, its types told apart (`repr`), or why it was refused."""
    try:
        return repr(read(line))
    except Refused as refused:
        return refused.args


def strict(line: bytes) -> Any:
    value = _parsed(line, "one JSON object")
    return value if isinstance(value, dict) else decoded(line)


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_million_wild_lines_have_the_same_verdict_and_value(count: int) -> None:
    chance, fast = random.Random(count), 0
    for _ in range(count):
        line = mutated(chance)
        assert verdict(decoded, line) == verdict(strict, line), line
        fast += _fast(line) is not None
    assert count / 20 < fast < count  # the fast way was tried, and not for all


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": [{"b": 1, "\\u0062": 2}]}',
        b'{"a": 18446744073709551616}',
        b'{"a": "\\": ", "a": ": \\\\"}',
        b'{"a": ' + b"[" * 101 + b"]" * 101 + b"}",
    ],
)
def test_what_the_fast_reader_would_pass_over_is_left_to_the_strict_one(line: bytes) -> None:
    assert _fast(line) is None


@pytest.mark.parametrize("line", [*LINES, b' {"a" :\t"x \\": y", "b" : [1 , 0.25]}\r'])
def test_an_ordinary_line_goes_the_fast_way(line: bytes) -> None:
    assert _fast(line) == json.loads(line)
