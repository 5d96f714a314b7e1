"""Units of measure behind a number, and which words behind a number are no unit at all.

unit("60 km/h fast", 2)       ->  ("km", 7)
unit("5 feet 7 inches", 1)    ->  ("foot", 6)
unit("60 jars left", 2)       ->  None: a noun; it says what is counted and changes no number
is_unit_phrase("jars left")   ->  True
is_unit_phrase("or 7 jars")   ->  False
"""

import re

# A line for each unit, its name first; an empty line between dimensions.
_SPELLINGS = """
second seconds sec secs s
minute minutes min mins
hour hours hr hrs h
day days
week weeks wk wks
month months mo
year years yr yrs

millimeter millimeters millimetre millimetres mm
centimeter centimeters centimetre centimetres cm
kilometer kilometers kilometre kilometres km kms kph
meter meters metre metres m
inch inches in
foot feet ft
yard yards yd yds
mile miles mi mph

milligram milligrams mg
kilogram kilograms kg kgs
gram grams g
tonne tonnes ton tons
ounce ounces oz
pound pounds lb lbs

milliliter milliliters millilitre millilitres ml mL
liter liters litre litres l L
cup cups
pint pints pt
quart quarts qt
gallon gallons gal
tablespoon tablespoons tbsp
teaspoon teaspoons tsp

cent cents ¢
dollar dollars USD
euro euros EUR

degree degrees ° deg
radian radians rad

percent % pct

watt watts W
kilowatt kilowatts kW

volt volts V

newton newtons N

joule joules J
kilojoule kilojoules kJ

pascal pascals Pa

kelvin K

hertz Hz
"""
_DIMENSIONS = [dimension.strip().splitlines() for dimension in _SPELLINGS.split("\n\n")]
_NAMES = {name: line.split()[0] for lines in _DIMENSIONS for line in lines for name in line.split()}
_DIMENSION = {line.split()[0]: number for number, lines in enumerate(_DIMENSIONS) for line in lines}
_KNOWN = "|".join(re.escape(name) for name in sorted(_NAMES, key=len, reverse=True))
_LONG = "|".join(name for name in sorted(_NAMES, key=len, reverse=True) if len(name) > 2 and name.isalpha())
_POWER = r"(?:\s?\^\s?\{?\s?[23]\s?\}?|[²³])?"
_UNIT = re.compile(
    r"(?:[ \t\u2009]of\san?[ \t])?[ \t\u2009]?(?:(?:square|sq\.?|cubic|cu\.?)\s)?"
    rf"((?:{_KNOWN})(?:(?<=[°%])|(?![A-Za-z_']))|(?i:(?:{_LONG})\b))"
    rf"{_POWER}(?:(?<=°)\s?[CF]\b|\s(?:Celsius|Fahrenheit)\b)?"
    rf"(?:\s?/\s?(?:{_KNOWN})(?![A-Za-z_]){_POWER}|\sper\s(?:{_KNOWN})\b)?(?!-\w)"
)
_PERCENT = re.compile(r"[ \t\u2009]?(?:%|percent\b|per\scent\b|pct\b|percentage\spoints?\b)", re.IGNORECASE)
_SMALL_WORD = re.compile(
    r"[ \t](?:in|m|s|h|g|l|min|sec)\b(?=\s+(?!and\b|or\b)[A-Za-z])|[ \t]in\b(?=\s+\$?[0-9])"
)  # `5 in total`, `$18 in 1 day`: the word, not the unit
_FEET = re.compile(r"'(?=\s?[0-9])")
_INCHES = re.compile(r"\s?(?:\"|'')")

# What says that a number goes on, or is one of several things: no part of a unit.
NUMBER_WORDS = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    "|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundreds?|thousands?|millions?|billions?"
    "|trillions?|dozens?|lakhs?|crores?|half|third|quarter"
)
MONTHS = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?)"
)
_NO_UNIT = re.compile(
    rf"\b(?:and|or|plus|minus|times|to|not|is|are|was|were|am|pm|than|but|x|squared|cubed|factorial|mod|by|because|since"
    rf"|so|that|which|if|has|have|had|remains?|{NUMBER_WORDS})\b",
    re.IGNORECASE,
)
_MONTH = re.compile(rf"\b{MONTHS}")
_WORD = r"(?:[^\W\d_]{2,}(?:['.-][^\W\d_]+)*\.?|[amshgklLVWNJCFK](?![^\W_]))"
_PHRASE = re.compile(rf"\s*(?:[%°]\s?)?(?:/\s?)?{_WORD}{_POWER}(?:(?:\s+|\s?/\s?){_WORD}{_POWER}){{0,5}}\s*")


def unit(text: str, at: int) -> tuple[str, int] | None:
    """The name of the unit of measure that stands at `at`, behind a number, and its end."""
    if percent := _PERCENT.match(text, at):
        return "percent", percent.end()
    if feet := _FEET.match(text, at):
        return "foot", feet.end()
    match = _UNIT.match(text, at)
    if not match or _SMALL_WORD.match(text, at):
        return None
    return _NAMES.get(match[1]) or _NAMES[match[1].lower()], match.end()


def contradicts(name: str, other: str) -> bool:
    """Whether two units measure the same in different sizes: hours and minutes, not hours and miles."""
    return name != other and _DIMENSION.get(name) == _DIMENSION.get(other, -1)


def inches(text: str, at: int) -> int | None:
    """The end of the sign for inches that stands at `at`, after feet."""
    match = _INCHES.match(text, at)
    return match.end() if match else None


def is_unit_phrase(text: str) -> bool:
    """Whether a number followed by this, to the end, is still that number: `jars left`, `km/h`, `every day`."""
    return not text.strip() or bool(_PHRASE.fullmatch(text) and not _NO_UNIT.search(text) and not _MONTH.search(text))
