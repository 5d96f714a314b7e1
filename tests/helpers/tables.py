"""The docs' tables of built-in things, from their modules' docstrings.

python tests/helpers/tables.py     # writes them into docs/*.md again, between `<!-- table: … -->` and `<!-- end -->`
"""

import re
from pathlib import Path

from stagewise import registry
from stagewise.config import evaluation

DOCS = Path(__file__).parents[2] / "docs"
ORDER = {"extractor": evaluation.EXTRACT, "matcher": evaluation.MATCH, "measure": evaluation.MEASURES}
PLACE = re.compile(r"(?<=<!-- table: )(\w+)( -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)


def table(kind: str) -> str:
    """A row a thing: in the order of the default, then the others."""
    said = registry.described(kind)
    order = dict.fromkeys([*ORDER.get(kind, ()), *said])
    rows = "".join(f"| `{name}` | {said[name].removesuffix('.')} |\n" for name in order)
    return f"| {kind} | what it is, and whose |\n| --- | --- |\n{rows}"


def written(page: str) -> str:
    """The page with its tables as the docstrings have them."""
    return PLACE.sub(lambda match: f"{match[1]}{match[2]}{table(match[1])}", page)


if __name__ == "__main__":
    for path in DOCS.glob("*.md"):
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
