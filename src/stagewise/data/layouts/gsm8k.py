"""openai/grade-school-math: `question`, and `answer`, whose lines are the steps and whose last line is `#### <result>`.

    {"question": "Tom has 48 eggs …", "answer": "He sold 48/2 = <<48/2=24>>24 eggs.\\n#### 24"}

Its items have no ids: they are called `gsm8k-<row>`.
"""

import re

from stagewise.data.jsonl import described
from stagewise.data.layouts import Item, Layout, Row, Step, Trace

RESULT = "####"
# GSM8K marks arithmetic as `<<48/2=24>>` for its authors' calculator, which forces the next tokens to be
# the result; without that calculator the marks are noise. See "Calculation Annotations" in the README of
# openai/grade-school-math. All of its 27,998 are an expression and a result; `x << 2` is text.
ANNOTATION = re.compile(r"<<[\d+\-*/().,%$]+=[\d+\-*/().,%$]+>>")


def _trace(row: Row) -> Trace:
    prompt = row.text("question", blank=False)
    lines, result = _answer(row)
    return row.trace(prompt, [Step("solution", line) for line in lines], result)


def _item(row: Row) -> Item:
    prompt = row.text("question", blank=False)
    lines, result = _answer(row)
    return row.item(f"gsm8k-{row.number}", prompt, result, reference=lines)


def _answer(row: Row) -> tuple[list[str], str]:
    """Solution lines without calculator marks (six real rows have a blank one, no step), and the result."""
    answer = row.text("answer", blank=False)
    *lines, last = answer.split("\n")
    result = last.removeprefix(RESULT).strip()
    if answer and (not last.startswith(RESULT) or not result):
        row.refuse("answer", f"{described(last)} as its last line", f"'{RESULT} <result>' there")
    solution = (ANNOTATION.sub("", line).strip() for line in lines)
    return [line for line in solution if line], result


gsm8k = Layout(trace=_trace, item=_item)
