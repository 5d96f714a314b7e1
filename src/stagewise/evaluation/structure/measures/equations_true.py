"""Of the equations that count, the share that is true: by exact value, or to the decimals shown (`142 ÷ 14 = 10.14`),
after ≈ to the last digit that is not 0.
"""

from stagewise.evaluation.structure.response import Response

KIND = "share"


def equations_true(response: Response) -> float | None:
    stated = response.equations
    return sum(equation.true for equation in stated) / len(stated) if stated else None
