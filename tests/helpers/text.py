"""What a text has to hold."""

import re


def matched(pattern: str | re.Pattern[str], text: str) -> re.Match[str]:
    """The first place where the pattern matches; there must be one."""
    found = re.search(pattern, text)
    assert found is not None, f"{pattern!r} is not in {text!r}"
    return found
