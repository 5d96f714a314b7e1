"""What the measures of trace structure are called, and within what they lie; nothing is loaded for it."""

from stagewise.config.evaluation import MEASURES
from stagewise.registry import constants

NAMES = MEASURES
_KINDS: dict[str, str] = constants("measure", "KIND")
RATES = tuple(name for name, kind in _KINDS.items() if kind == "rate")  # 0 or 1 for an item
# From 0 to 1 for an item; every other built-in measure is 0 or more, and of a user's own nothing is known.
SHARES = tuple(name for name, kind in _KINDS.items() if kind == "share")
BOUNDED = tuple(_KINDS)
