"""Percentages, prices, journeys, units.

    6 pens cost $18. …      18÷6=3 · 3×4=12 so $12   answer $12
    Take 25% off 80.        80÷10=8 · 8×2=16 · 8÷2=4 · 16+4=20 · 80-20=60   answer 60

A step is one product, quotient, sum or difference.
"""

from stagewise.data.generate.draw import Draw
from stagewise.data.generate.problem import Family, Problem

CHAINS = (
    (("weeks", "days", "hours"), (7, 24)),
    (("hours", "minutes", "seconds"), (60, 60)),
    (("km", "m", "cm"), (1000, 100)),
    (("kg", "g", "mg"), (1000, 1000)),
    (("yards", "feet", "inches"), (3, 12)),
)
THINGS = ("pens", "cups", "books", "apples")


def percentage(percent: int, base: int, off: bool) -> Problem:
    """By tenths, and half a tenth for the 5 of 25 %; nothing and all in one step. What is left tells what is taken."""
    tenths, half = divmod(percent, 10)
    part = base * percent // 100
    if percent % 100 == 0:
        steps = [f"{base}×{percent // 100}={part}"]
    else:
        tenth = base // 10
        steps = [f"{base}÷10={tenth}"]
        if tenths > 1:
            steps.append(f"{tenth}×{tenths}={tenth * tenths}")
        if half:
            steps += [f"{tenth}÷2={tenth // 2}", f"{tenth * tenths}+{tenth // 2}={part}"]
    same = ("percentage", percent, base)
    if not off:
        return Problem(f"What is {percent}% of {base}?", steps, str(part), same)
    steps.append(f"{base}-{part}={base - part}")
    return Problem(f"Take {percent}% off {base}.", steps, str(base - part), same)


def unit_price(count: int, thing: str, price: int, wanted: int | None, paid: int | None) -> Problem:
    """The price of one; of `wanted`; the change from `paid`."""
    cost = count * price
    steps, answer, asked = [f"{cost}÷{count}={price}"], price, "What does 1 cost?"
    if wanted is not None:
        steps.append(f"{price}×{wanted}={price * wanted}")
        answer, asked = price * wanted, f"What do {wanted} cost?"
    if paid is not None:
        steps.append(f"{paid}-{answer}={paid - answer}")
        answer, asked = paid - answer, f"What is the change from ${paid} for {wanted}?"
    steps[-1] += f" so ${answer}"
    same = ("price", count, cost, wanted, paid)
    return Problem(f"Buying {count} {thing} costs ${cost}. {asked}", steps, f"${answer}", same)


def journey(start: int | None, *legs: tuple[int, int]) -> Problem:
    """Legs of (hours, km/h), after `start` km."""
    steps, done = [], start
    for hours, speed in legs:
        way = speed * hours
        steps.append(f"{speed}×{hours}={way}")
        if done is not None:
            steps.append(f"{done}+{way}={done + way}")
        done = way + (done or 0)
    drive = " then ".join(f"{hours} h at {speed} km/h" for hours, speed in legs)
    after = f"After {start} km drive" if start is not None else "Drive"
    same = ("journey", start or 0, *sorted(legs))
    return Problem(f"{after} {drive}. How many km?", steps, str(done), same)


def convert(units: tuple[str, ...], factors: tuple[int, ...], amounts: tuple[int, ...]) -> Problem:
    """`amounts` in the first units, to the last: times a factor, plus the next amount, and so on."""
    steps, done = [], amounts[0]
    for place, factor in enumerate(factors, 1):
        steps.append(f"{done}×{factor}={done * factor}")
        done *= factor
        if place < len(amounts):
            steps.append(f"{done}+{amounts[place]}={done + amounts[place]}")
            done += amounts[place]
    given = " ".join(f"{amount} {unit}" for amount, unit in zip(amounts, units, strict=False))
    return Problem(f"Convert {given} to {units[-1]}.", steps, str(done), ("convert", *units, *amounts))


def _percent(draw: Draw, steps: int) -> tuple[int, int, bool]:
    tenths = draw.between(2, 9)
    percent = {1: 10, 2: 10 * tenths, 3: 10 * tenths, 4: 10 * tenths + 5, 5: 10 * tenths + 5}[steps]
    base = draw.between(1, 99) * (10 if percent % 10 == 0 else 20)
    return percent, base, steps in (3, 5)


def _purchase(draw: Draw, steps: int) -> tuple[int, str, int, int | None, int | None]:
    count, price, wanted = draw.between(2, 9), draw.between(2, 9), draw.between(2, 9)
    paid = 10 * draw.between(price * wanted // 10 + 1, 10)
    return count, draw.pick(THINGS), price, wanted if steps > 1 else None, paid if steps > 2 else None


def _nothing_to_pay(draw: Draw) -> tuple[int, str, int, int | None, None]:
    price, wanted = draw.pick([(0, None), (draw.between(0, 99), 0)])
    return draw.between(2, 9), draw.pick(THINGS), price, wanted, None


def _route(draw: Draw, steps: int) -> tuple[int | tuple[int, int] | None, ...]:
    """A leg takes two steps, the first one if nothing was driven before."""
    start = None if steps % 2 else draw.between(1, 99)
    legs = ((draw.between(2, 9), 5 * draw.between(2, 20)) for _ in range((steps + 1) // 2))
    return start, *legs


def _standstill(draw: Draw) -> tuple[int | None, tuple[int, int]]:
    start = draw.pick([None, draw.between(0, 99)])
    return start, draw.pick([(0, 5 * draw.between(1, 20)), (draw.between(1, 9), 0)])


def _amounts(draw: Draw, steps: int) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    """Steps 1 and 2: to the next unit; 3 and 4: to the one after."""
    units, factors = draw.pick(CHAINS)
    levels = (steps + 1) // 2
    first = draw.between(2, 99 if steps == 1 else 9)
    rest = [draw.between(1, factor - 1) for factor in factors]
    return units[: levels + 1], factors[:levels], (first, *rest[: steps // 2])


def _nothing_to_convert(draw: Draw) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    units, factors = draw.pick(CHAINS)
    return units[:2], factors[:1], (0, draw.between(0, 59))


FAMILIES = (
    Family(
        "percentage",
        range(1, 6),
        _percent,
        lambda d: (d.pick([0, 100]), d.between(0, 999), False),
        percentage,
    ),
    Family(
        "unit_price",
        range(1, 4),
        _purchase,
        _nothing_to_pay,
        unit_price,
    ),
    Family("speed_time", range(1, 7), _route, _standstill, journey),
    Family("conversion", range(1, 5), _amounts, _nothing_to_convert, convert),
)
