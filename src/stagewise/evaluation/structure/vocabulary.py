"""The words and marks that reading arithmetic out of prose goes by.

Prose has no end of words. Listed are the few that calculate, count, measure, or tie a number to its neighbours.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Two of one dimension in a sum are a conversion (`1 hour + 30 minutes = 90 minutes`), which numbers alone cannot judge.
DIMENSIONS = (
    _words("second minute hour day week month year"),
    _words("mm cm meter km inch foot yard mile"),
    _words("mg gram kg oz ounce pound ton"),
    _words("ml cl liter oz ounce cup pint quart gallon tablespoon teaspoon"),
    _words("cent penny nickel dime quarter dollar"),
)
_MEASURES = frozenset[str]().union(*DIMENSIONS)
_SINGULAR = {"feet": "foot", "inches": "inch", "pennies": "penny", "halves": "half"}
_ABBREVIATED = {"s": "second", "sec": "second", "min": "minute", "h": "hour", "hr": "hour", "m": "meter"}
_ABBREVIATED |= {"metre": "meter", "kilometre": "km", "kilometer": "km", "ft": "foot", "yd": "yard", "mi": "mile"}
_ABBREVIATED |= {"g": "gram", "kilogram": "kg", "lb": "pound", "l": "liter", "litre": "liter", "buck": "dollar"}

UNIT_LETTERS = frozenset("mgshlLVWJKNCF")  # any other letter is a variable: 2x, 3n
SHORT_UNITS = _words("km cm mm nm kg mg ml mL dl cl lb oz ft in yd mi hr mA kW kB MB GB Hz Pa kJ am pm st nd rd th")
PER = _words("per a an each every")  # cookies per batch
LINKS = _words("of in on at from for by")  # boxes of pencils; but not `2 in 5`
NO_UNITS = _words(
    "and or so then is are was were be which that this these those to if as since because therefore hence thus but "
    "with where when while gives give gave gets get got makes make made equals equal than until after before out into "
    "leaving has have had we i he she it they you his her its their the not remainder rem"
)
SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
SHORT_SCALES = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}
COLLECTIVE = _words("dozen gross")  # units, or factors
PAIRS = _words("pair couple")  # they count like other things, but for `2 pairs + 1 = 5`
PARTS = _words("half third quarter fourth fifth sixth seventh eighth ninth tenth twelfth hundredth thousandth")
CONSTANTS = _words("pi tau phi theta alpha beta infinity")
NUMBERS = _words(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
REMAINDER = _words("remainder rem r R")

# These change what follows: twice 3 + 1, half of 10 + 2, log 100 + 1.
CHANGING = _words(
    "twice thrice double triple dozen root square cube factorial negative reciprocal inverse opposite power log ln lg "
    "exp sin cos tan sqrt abs max min gcd lcm floor ceil mod percent plus minus times"
).union(SCALES, PARTS, NUMBERS)
# These say what is done with what follows: `the product of 3 × 4`, but what is `the product of 3 + 4`?
NAMING = {"product": "×", "difference": "-", "quotient": "÷", "ratio": "÷", "remainder": "mod"}
NAMING |= {"average": "÷", "mean": "÷", "median": ""}
# A number after these is a name, and two with a dash between are a range: `Step 2 - 3 × 4 = 12`, `pages 10-20`.
NUMBERED = _words(
    "step day week month year question problem part case example exercise item row line page chapter round game "
    "number no level grade class room group team stage phase task section figure table equation option range age verse"
)
PLACES = _words("on in of from at for by after before during until through and")  # before such a name
# `add 3 to 4 + 1`, `dividing the time by 60 + 40`: what follows is one thing with what stands before.
ADDING = _words("add adds added adding subtract subtracts subtracted subtracting take takes taking took")
SCALING = _words("divide divides divided dividing multiply multiplies multiplied multiplying")
CLOCKS = _words("am pm a.m p.m o'clock o’clock")
LIGHT = _words("of the a an as many much more fewer number its their his her our than")
# These join what follows to a number before: 3 and 4 + 1, 2 from 5 × 2, 15 div 2 + 1.
JOINING = _words("and or to from by with off into over per less plus minus of through div choose xor vs versus")
GOING_ON = REMAINDER | _words("or to through times plus minus over")  # 7 or 8, 5 to 7

OPERATORS = frozenset("+-×÷^√∛") | _words("mod of %%")
WITHIN = frozenset(".,:'’")  # marks that may stand within a number: 3:15, 1,5
BREAKS = WITHIN | frozenset(';?"”“‘«»•~#|<>→⇒➜…—_。、∴∵') | _words("... -> => :=")  # these end what was said before


def singular(word: str) -> str:
    """Of a word in lower case; an abbreviation is written out, so that `2 hrs` and `60 km/h` are of one unit."""
    one = _SINGULAR.get(word, word.removesuffix("s") if len(word) > 2 else word)
    return _ABBREVIATED.get(one, one)


def is_cased(word: str) -> bool:
    """Of a script with capitals, in which a single letter is a variable, and words have spaces between them."""
    return word.lower() != word.upper()


def is_measure(word: str) -> bool:
    return singular(word.lower()) in _MEASURES
