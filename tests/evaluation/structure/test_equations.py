"""True statements in many spellings are never called false, false ones never true, and torn ones do not count.

First by hand; then a statement is drawn as a tree of exact numbers, and written in one of the ways that people and
models write it.
"""

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stagewise.evaluation.structure.equations import stated_equations


def truths(output: str) -> list[bool]:
    return [equation.true for equation in stated_equations(output)]


TRUE = (
    "15 ÷ 2 = 7 remainder 1",
    "15 ÷ 2 = 7 R 1",
    "15 ÷ 2 = 7 R1",
    "15 / 2 = 7 r 1",
    "15/2 = 7 r1",
    "15 / 2 = 7 rem 1",
    "15 / 2 = 7, remainder 1",
    "15 / 2 = 7 (remainder 1)",
    "15 / 2 = 7 with remainder 1",
    "15 / 2 = 7 with a remainder of 1",
    "15 / 2 = 7 with 1 left over",
    "15 / 2 = 7 and 1 left",
    "15 ÷ 2 = 7 Remainder: 1",
    "15 ÷ 2 = 7 apples with a remainder of 1 apple",
    "7 remainder 1 = 15 ÷ 2",
    "15 divided by 2 = 7 remainder 1",
    "√16 + 3 = 7",
    "3 + √16 = 7",
    r"\sqrt{16} + 3 = 7",
    "sqrt(16) + 3 = 7",
    "√(9 + 16) = 5",
    "2√16 = 8",
    "2 × √16 = 8",
    "∛27 = 3",
    r"\sqrt[3]{27} = 3",
    "square root of 16 + 3 = 7",
    "the square root of 16 + 3 = 7",
    "1.5e3 × 2 = 3000",
    "1.5E3 × 2 = 3000",
    "1.5e+3 × 2 = 3e3",
    "2e-2 × 100 = 2",
    "1.5 × 10^3 = 1500",
    "1.5 × 10³ = 1500",
    "2 (3+1) = 8",
    "2(3+1) = 8",
    "(2)(4) = 8",
    "(1+1)(2+2) = 8",
    "2 × (3+1) = 8",
    "2[3 + 1] = 8",
    "17 mod 5 + 1 = 3",
    "17 mod 5 = 2",
    "17 % 5 = 2",
    "17%5 = 2",
    "17 modulo 5 = 2",
    r"17 \bmod 5 = 2",
    "7 + 8 = 3 mod 12",
    "2 times 3 + 1 = 7",
    "2 multiplied by 3 plus 1 = 7",
    "10 minus 3 = 7",
    "10 divided by 2 = 5",
    "3 squared + 1 = 10",
    "2 cubed = 8",
    "2 to the power of 3 = 8",
    "2 to the 3rd power = 8",
    "2**3 = 8",
    "2 ** 3 = 8",
    "2^(1+2) = 8",
    "2^{3} = 8",
    "2^3^1 = 8",
    "2^-1 = 0.5",
    "10² = 100",
    "10^2 = 100",
    "10⁻² = 0.01",
    "5 cm × 4 cm = 20 cm²",
    "5 cm × 4 cm = 20 cm^2",
    "5 m * 4 m = 20 m^2",
    "12 000 + 5 = 12 005",
    "12 000/3 = 4 000",
    "400 000 x 5/100 = 20 000",
    "12 000 + 5 = 12 005",
    "12{,}000 + 5 = 12{,}005",
    "1 1/2 + 1/2 = 2",
    "5 ÷ 2 = 2 1/2",
    "5 ÷ 2 = 2 and 1/2",
    "5 ÷ 2 = 2½",
    "1½ + ½ = 2",
    "6 ÷ ½ = 12",
    r"5 ÷ 2 = 2\frac{1}{2}",
    r"\frac{1}{2} + \frac{1}{4} = \frac{3}{4}",
    r"\frac12 + \frac12 = 1",
    "2 million + 3 million = 5 million",
    "2 million + 500 thousand = 2.5 million",
    "2 hundred + 50 = 250",
    "30 / 50 × 100 = 60%",
    "30 / 50 = 60%",
    "3 / 2 × 100 = 150%",
    "100 - 40 = 60%",
    "0.5 × 100% = 50%",
    "100% - 20% = 80%",
    "20 percent of 50 = 10",
    "1/2 of 10 = 5",
    "0.25 of 80 = 20",
    "-3 + 5 = 2",
    "−3 + 5 = 2",
    "negative 3 + 5 = 2",
    "5 - -3 = 8",
    "5 × -3 = -15",
    "3 + 2 = +5",
    "2/3 = 0.67",
    "2/3 = 0.666...",
    "2/3 = 0.66…",
    "1/3 = 0.333...",
    "2/3 × 100 = 66.7",
    "2 / 3 * 100% = 66.666...%",
    "2/3 ≈ 0.67",
    "1234 × 2 ≈ 2500",
    "98 + 99 ≈ 200",
    "3 + 4 = 7!",
    "So 3 + 4 = 7!",
    "4 × 3 × 2 × 1 = 4!",
    "5! = 120",
    "(2 + 1)! = 6",
    "5! + 1 = 121",
    "**3 + 4 = 7**",
    "**3** + **4** = **7**",
    "3 + 4 = **7**",
    "`3 + 4 = 7`",
    r"\(3 + 4 = 7\)",
    r"\[3 + 4 = 7\]",
    "$3 + 4 = 7$",
    "$$3 + 4 = 7$$",
    "3 + 4 &= 7 \\\\",
    r"3 + 4 = \boxed{7}",
    r"\boxed{3 + 4 = 7}",
    "3 + 4 == 7",
    "３ + ４ = ７",
    "3＋4＝7",
    "90° + 45° = 135°",
    "50¢ + 50¢ = 100¢",
    "$5.50 + $4.50 = $10.00",
    r"\$5 + \$3 = \$8",
    "3 + 4 = 7 (since 3 and 4 are small)",
    "3 + 4 = 7 (correct)",
    "3 x 4 = 12 (15 minutes)",
    "3 + 4 = 7 | 5",
    "| 3 + 4 = 7 |",
    "1. 3 + 4 = 7",
    "1) 3 + 4 = 7",
    "(1) 3 + 4 = 7",
    "a) 3 + 4 = 7",
    "Step 1: 3 + 4 = 7",
    "- 3 + 4 = 7",
    "* 3 + 4 = 7",
    "• 3 + 4 = 7",
    "> 3 + 4 = 7",
    "# 3 + 4 = 7",
    "Great! 3 + 4 = 7",
    '"3 + 4 = 7"',
    "(3 + 4 = 7)",
    "We get 3 + 4 = 7.",
    "so that's 3 + 4 = 7 apples",
    "3 + 4 = 7, so we are done",
    "3 + 4 = 7; ",
    "3 + 4 = 7:",
    "3 + 4 = 7 is true",
    "3 + 4 = 7th floor",
    "3 + 4 = 7 - 0",
    "60 km/h × 2.5 h = 150 km",
    "12 boxes of pencils × 3 = 36 pencils",
    "5 batches × 12 cookies per batch = 60 cookies",
    "5 सेब + 3 सेब = 8 सेब",
    "3 apples x $2/apple = $6",
    "x = 3 + 4 = 7",
    "4-0=4 so -41",
    "17 + 28 = 45 carry 1",
    "100/10/2 = 5",
    r"3 \times 4 = 12",
    r"3 \cdot 4 = 12",
    r"\left(3 + 4\right) \times 2 = 14",
    r"15 \div 3 = 5",
    r"3 \text{ apples} + 4 \text{ apples} = 7 \text{ apples}",
    "3·4 = 12",
    "3 ⋅ 4 = 12",
    "3 * 4 = 12",
    "3 X 4 = 12",
    "3x4 = 12",
    "0.1 + 0.2 = 0.3",
    ".5 + .5 = 1",
    "1,000,000 / 4 = 250,000",
    "007 + 3 = 010",
    "8 = 2 (3+1)",
    "7 = 3 + 4",
    "the total of 3 + 4 = 7",
    "2 dozen + 3 dozen = 5 dozen",
    "60 / (3/4) = 80",
    "{3 + 4} × 2 = 14",
    "[3 + 4] × 2 = 14",
    "2 × [3 + 4] = 14",
    "3 + 4 = 7 <br>",
    "<b>3 + 4 = 7</b>",
    "3 + 4 = 7 → done",
    "so → 3 + 4 = 7",
    "2 + 2 = 4, 3 + 3 = 6",
    "((2)) + 3 = 5",
    "100 / 3 = 33 stickers each, with 1 remaining",
    "3 &times; 4 = 12",
    "minus 3 + 5 = 2",
    "15 + 27 = 42 15 + 27 = 42 15 + 2",
    "11/4 + 1/4 = 3",
    "3 m × 4 m = 12 m²",
    "3 + 4 = 7. Next, 5 + 5 = 10",
    "4! / (2! × 2!) = 6",
    "√(3² + 4²) = 5",
    "2 fl oz + 3 fl oz = 5 fl oz",
    "amounts to 100 - 80 = 20",
    "There are 12 months so 3 × 4 = 12",
    "the 40%-full tire needs 500 × (60%) = 300",
    "at 10/hour he made 7×10 = 70",
    "20°C + 5°C = 25°C",
    "9/5 × 100 + 32 = 212°F",
    "(100 − 32) × 5/9 = 37.8",
    "1/2+1/3 = 3/6 + 2/6 = 5/6",
    "2^5 = 2 × 2 × 2 × 2 × 2 = 32",
    "1 + 2 + 3 + ... + 10 = 10 × 11 / 2 = 55",
    "n(n+1)/2 = 10(11)/2 = 55",
    "C(5,2) = 5!/(2!3!) = 10",
    "P(A) = 3/6 = 1/2 = 0.5 = 50%",
    "V = 4/3 π r³ = 4/3 × 3.14 × 27 = 113.04",
    "3 × 10^8 m/s × 2 s = 6 × 10^8 m",
    "6.02 × 10^23 × 2 = 1.204 × 10^24",
    "15% of $80 = 0.15 × 80 = $12",
    "30% off $50 = $50 × 0.7 = $35",
    "12 eggs/dozen × 3 dozen = 36 eggs",
    "f(2) = 2² + 3(2) - 1 = 4 + 6 - 1 = 9",
    "a_1 = 3, a_2 = 3 + 4 = 7",
    "(-2)(-3) = 6",
    "2/3 ÷ 4/5 = 2/3 × 5/4 = 10/12 = 5/6",
    "72 km/h = 72 × 1000 / 3600 = 20 m/s",
    "1 - 30% = 70%",
    "3+4=7;5+2=7",
    "所以3+4=7。",
    "3个+4个=7个",
    "因此 15÷2=7……1",
    "所以，3 + 4 = 7，正确",
    "1 234.5 + 0.5 = 1 235",
    "22/7 = 3.142857...",
    "Her age: 12 + 5 = 17 years old",
    "He is 5'7\" tall, 60 + 7 = 67 inches",
    "$2.50/lb × 4 lb = $10",
    "4 × $2.50 = $10.00.",
    "Room 12, 3 + 4 = 7",
    "On 3/4 we had 3 + 4 = 7",
    "from 9 to 5: 8 hours × 5 = 40 hours",
    "Q1 + Q2 = 3 + 4 = 7",
    "((3 + 4) × 2) - 1 = 13",
    "3 + 4 × 2 = 11",
    "10 − 2 × 3 = 4",
    "3 ∙ 4 = 12",
    "3 ⨯ 4 = 12",
    "3 ✖ 4 = 12",
    "2 to the power 3 + 1 = 9",
    "sum of 3 + 4 = 7",
    "difference of 10 - 3 = 7",
    "10 is 3 + 7 = 10",
    "50/100 = 1/2 = 0.5",
    "100cm + 50cm = 150cm",
    "1.5m × 2 = 3m",
    "5 min + 5 min = 10 min",
    "3 thousand + 4 thousand = 7000",
    "1.2M + 0.3M = 1.5M",
    "$3k × 2 = $6k",
    "6 pairs = 6 × 2 = 12 shoes",
    "12 × 25% = 3",
    "-4 + 10 = 6",
    "1) 3 + 4 = 7 2) 4 + 5 = 9",
    "Total cost = 3 × $4 + 2 × $5 = $12 + $10 = $22",
    "Total = $12 + $10 = $22; change = $50 - $22 = $28.",
    "24 ÷ 4 = 6, 6 × 2 = 12",
    "17 ÷ 5 = 3 r2",
    "17 ÷ 5 = 3 with 2 leftover",
    "17 ÷ 5 = 3 remainder: 2",
    "17 ÷ 5 = 3 (R2)",
    "17/5 = 3, R = 2",
    "17 = 5 × 3 + 2",
    "2 R 3 = 13 ÷ 5",
    "√(25) = 5",
    "√25 = 5",
    "√ 25 = 5",
    "2√9 = 6",
    "√9 × √4 = 6",
    "√9√4 = 6",
    "√(9)(4) = 12",
    r"\sqrt{3^2 + 4^2} = \sqrt{25} = 5",
    r"\frac{3+4}{7} = 1",
    r"\frac{\frac{1}{2}}{2} = \frac{1}{4}",
    r"\left(\frac{1}{2}\right)^2 = \frac{1}{4}",
    r"2^{-1} = \frac{1}{2}",
    r"5 \times 10^{-3} = 0.005",
    r"3 \, \text{m} \times 4 \, \text{m} = 12 \, \text{m}^2",
    r"\begin{align*} 3 + 4 &= 7 \\ 7 - 2 &= 5 \end{align*}",
    "= 3 + 4 = 7",
    "=> 3 + 4 = 7",
    "∴ 3 + 4 = 7",
    "✓ 3 + 4 = 7",
    "👉 3 + 4 = 7",
    "60% = 30 / 50 × 100",
    "0.125 × 100 = 12.5%",
    "1.5 × 2 = 300%",
    "each day 3 × 2 = 6",
    "In one week 5 × 7 = 35",
    "He ate 3 + 2 = 5 apples on day 2",
    "Class 2 has 20 + 5 = 25 pupils",
    "She had to row 20 × 4 = 80 feet",
    "subtract the 18 months from the total of 120 months to find 120-18 = 102 months",
    "Adding 25 bananas to the pile brings the total to 24 + 25 = 49",
    "8. 5 + 1 = 6",
    "- ✓ 3 + 4 = 7",
)

LEFT_OUT = (
    "750 ÷ 301 = 2 148/301",  # or 2148 ÷ 301
    "12 345/500 = 24.69",
    "3 + 4 != 8",
    "3 + 4 ≠ 8",
    "3+4!=8",
    r"3 + 4 \neq 8",
    "3 + 4 =/= 8",
    "3 + 4 <= 8",
    "3 + 4 >= 7",
    r"3 + 4 \leq 8",
    "x1 + 3 = 7",
    "x_1 + 3 = 7",
    "x₁ + 3 = 7",
    "x_{1} + 3 = 7",
    "Q3 + 4 = 9",
    "a1 + b2 = 5",
    "twice 3 + 1 = 7",
    "half of 10 + 1 = 6",
    "double 3 + 1 = 7",
    "5 more than 3 × 2 = 11",
    "5 less than 3 × 4 = 7",
    "subtract 2 from 5 × 2 = 8",
    "add 5 to 3 × 2 = 11",
    "3 boys and 4 girls + 2 teachers = 9",
    "the sum of 3 and 4 + 1 = 8",
    "one and 4 + 1 = 6",
    "two times 3 + 1 = 7",
    "three + 4 = 7",
    "log 100 + 1 = 3",
    r"\log 100 + 1 = 3",
    "log(100) + 1 = 3",
    "log_2 8 + 1 = 4",
    "sin(90) + 1 = 2",
    "f(3) + 1 = 10",
    "f(3 + 5) = 8",
    "|−5| + 3 = 8",
    "|-5| + 3 = 8",
    "2 = |3 - 5|",
    "π × 2 = 6.28",
    "2π + 1 = 7.28",
    "2 π + 1 = 7.28",
    "2 pi + 1 = 7.28",
    "√2 × √2 = 2",
    "√2 + 1 = 2.414",
    "x + 3 = 7",
    "2x + 3 = 7 + 4",
    "3 + 4x = 11",
    "4s - 4 = 116",
    "2g + 80 - 4g = 70",
    "5m + 3 = 23",
    "2L + 2W = 30",
    "10N = 6N + 48",
    "6W / 6 = 30 / 6",
    "e + m = 93 and e = 9m - 7",
    "720 / R = 60 / 100",
    "8/3 = 24/Y",
    "100 / total = 5",
    "100 / x = 5",
    "2x = 6 + 4y",
    "(x + 3) × 2 = 10",
    "3 + 4 = x",
    "3 + 4 = 7x",
    "3 + 4 = 7 x",
    "3 + 4 = 7 + x",
    "= 3 + 4",
    "3 + 4 =",
    "1 hour + 30 minutes = 90 minutes",
    "1 hour 30 minutes + 45 minutes = 135 minutes",
    "1 hour and 30 minutes + 45 minutes = 135 minutes",
    "90 + 5 = 1 hour 35 minutes",
    "60 + 35 = 1 hour and 35 minutes",
    "2 × 30 minutes = 1 hour",
    "4 × 25 cents = $1",
    "$1 - 25¢ = 75¢",
    "60 km/h × 30 minutes = 30 km",
    "5 feet 7 inches + 5 inches = 6 feet",
    "2.5 + 0.5 = 2 and a half + a half",
    "5 ÷ 2 = 2 and a half",
    "√25 = ±5",
    "√25 = 5 or -5",
    "3 + 3 = 5 to 7",
    "3 + 4 = 7 or 8",
    "3:15 + 10 = 3:25",
    "7:50 + 10 = 8:00",
    "15 : 3 + 1 = 6",
    "1,5 + 1,5 = 3",
    "1,5 + 1,5 = 3,0",
    "1.2.3 + 1 = 4",
    "1/3 = 0.(3)",
    "1 + 2 + ... + 10 = 55",
    "1 + 2 + … + 10 = 55",
    "1 + 2 + ... 9 + 10 = 55",
    "1 << 3 + 1 = 16",
    "6 & 3 + 1 = 4",
    "0x10 + 1 = 17",
    "15 // 2 = 7",
    "50 + 20% = 60",
    "50 - 20% = 40",
    "60 / 3/4 = 80",
    "2 miles / 1/6 hour = 12 miles/hour",
    "Step 1 1/2 + 1/2 = 1",
    "Week 1 + Week 2 = 35 + 35",
    "8 batches = 5.5 × 8",
    "14 hours = 14 × 60 minutes",
    "2 dozen + 6 = 30",
    "5 dozen = 5 × 12",
    "5 × 3 = 15 million",
    "32 - 28 = 4 million",
    "19 × 21 ≈ 20 × 20",
    "7 tenths + 3 tenths = 1",
    "5 ÷ 100 = 5 hundredths",
    "100 / 3 = 33 (rounded)",
    "0930 + 10 = 0940",
    "17 = 2 (mod 5)",
    "2 + 3 = 5 ±1",
    r"3 + 4 = 7\pi",
    r"3 + 4 = 7\sqrt{2}",
    "1 - 2/3 = 1/3 of 150",
    "covid-19 + 1 = 20",
    "A-3 + 4 = 7",
    "9^64^64 = 2",
    "1 / 0 = 5",
    "8 × 9 = 7 ×",
    "5 - = 3",
    "= = =",
    "f(x) = 3 (4) 5",
    "3 +",
    "C₁ + 3 = 7",
    "H2O + 3 = 5",
    "3-digit + 4 = 7",
    "x^2 + 3 = 7",
    r"\frac{x}{2} + 3 = 7",
    "y = 2x + 3 = 7",
    "2 apples and 3 + 4 = 9",
    "v1.5 + 1 = 3",
    "50% off 80 + 5 = 45",
    "4 times as many as 3 + 1 = 13",
    "3 + 4 = 7:30",
    "6/2(1+2) = 1",
    "20% + 30 = 50%",
    "5k + 500 = 5500",
    "100 - 25% = 75",
    "1 thousand % (1/2) = 0",
    "3/2 = 1.5%",
    "12 / 4 = 3%",
    "150 ÷ 100 = 150%",
    "the product of 3 + 4 = 12",
    "15 div 2 + 1 = 8",
    "1,234,5 + 1 = 7",
    "100+(100×(10÷100) = 110",
    "A = πr² = π × 3² = 9π ≈ 28.27",
    "log10(100) = 2",
    "x = (-3 ± √(9 + 16)) / 2 = (-3 ± 5)/2 = 1 or -4",
    "8 ÷ 2(2 + 2) = 1",
    "3 + 4 = ___",
    "___ + 3 + 4 = 10",
    "□ 3 + 4 = 9",
    "5 : 2 = 2.5",
    "3 lb 4 oz + 2 oz = 3 lb 6 oz",
    "4 @ $2.50 + 1 = $11",
    "|3 − 10| = 7",
    "gcd(12, 18) + 1 = 7",
    "max(3, 4) + 1 = 5",
    "the cube of 2 + 1 = 9",
    "five plus 3 + 1 = 9",
    "3 + four + 1 = 8",
    "10 less 3 + 1 = 8",
    "1 dozen eggs + 1 dozen eggs = 24 eggs",
    "80 + 15% = 92",
    "(a) 3 + 4 = 7 (b) 4 + 5 = 9",
    "3/4 + 3/4 = 1.5%",
    "3 ÷ 2 × 1 = 1.5%",
    "1.5% = 3 ÷ 2 × 1",
    "1 + 0.25 = 1.25%",
    "0.5 × 3 = 1.5%",
    "add 20 + 10 lights to the 29 + 24 lights already up = 83 lights",
    "adding 3 apples to 4 + 2 = 9",
    "subtracting 3 pens from 10 + 2 = 9",
    "because .8 + . 84 + .82 = 2.46",
    "3 . 84 + 1 = 4.84",
    "10 pages on day 1 × 2 = 20 pages",
    "Week 2 × 3 = 12 pages",
    "by dividing by 60 minutes = 30 / 60",
    "dividing the time by 60 + 40 = 3",
    "multiplying by 3 + 4 = 7",
)

FALSE = (
    "12 × 3 = 35",
    "15 ÷ 2 = 7 remainder 2",
    "15 ÷ 2 = 6 remainder 3",
    "15 ÷ 2 = 7 R 2",
    "√16 + 3 = 8",
    "1.5e3 × 2 = 300",
    "2(3+1) = 9",
    "2 (3+1) = 9",
    "- 3 + 5 = 2",
    "– 4 + 10 = 6",
    "17 mod 5 + 1 = 4",
    "2 times 3 + 1 = 8",
    "5 cm × 4 cm = 21 cm²",
    "12 000 + 5 = 12 006",
    "5 ÷ 2 = 2 1/3",
    "2 million + 500 thousand = 2.6 million",
    "30 / 50 = 61%",
    "3 / 4 = 0.75%",
    "1/2 + 1/2 = 1%",
    "1/4 = 0.25%",
    "150 / 100 × 100 = 151%",
    "100 - 40 = 61%",
    "100 / 3 = 33",
    "142 ÷ 14 = $10.15",
    "2/3 = 0.65...",
    "3 + 4 = 8!",
    "so 3 + 4 = 8.",
    "60 km/h × 2.5 h = 140 km",
    "3 apples + 4 apples = 8 apples",
    "25% of 80 = 19",
    "$5 + $3 = $9",
    "**3 + 4 = 8**",
    r"3 + 4 = \boxed{8}",
    "2^3 = 9",
    "5! = 121",
    "35 = 5 × 8",
    "1234 × 2 ≈ 2600",
    "5 - 2 = 2 apples left",
    "3 + 4 = 8 (correct)",
    "4 ÷ 2 = 2 1/3",
    "12 + 0 = 12 005",
    "Marcell ate 42 because 14 x 3 = 44",
    "7/20*120 = 47 spoons",
    "1800/60 = 35 hours per week",
    "007 + 3 = 009",
    "7! = 7 × 6 × 5 × 4 × 3 × 2 × 1 = 504",
)


@pytest.mark.parametrize("statement", TRUE)
def test_a_true_statement_is_called_true(statement: str) -> None:
    found = truths(statement)
    assert found
    assert all(found)


@pytest.mark.parametrize("statement", LEFT_OUT)
def test_what_is_torn_or_may_be_meant_otherwise_does_not_count(statement: str) -> None:
    assert truths(statement) == []


@pytest.mark.parametrize("statement", FALSE)
def test_a_false_statement_is_called_false(statement: str) -> None:
    assert truths(statement)[-1:] == [False]


# --- as people write them -----------------------------------------------------------------------


def test_solutions_written_by_people_come_out_true_and_their_mistakes_false(shared: Path) -> None:
    """Of GSM8K; where its own result of a step is changed, no equation is true, and few are left out."""
    text = (shared / "gsm8k" / "test.jsonl").read_text(encoding="utf-8")
    steps = [line for row in text.splitlines() for line in json.loads(row)["answer"].splitlines()]
    found = [equation for step in steps for equation in truths(step)]
    assert len(found) > 4350
    assert sum(found) / len(found) > 0.998
    changed = []
    for step in steps:
        result = re.search(r"=(\d+)>>\1(?![\d.,/%])", step)
        if result and step.count("<<") == 1 and truths(step) == [True]:
            other = int(result[1]) + 3
            changed.append(truths(f"{step[: result.start()]}={other}>>{other}{step[result.end() :]}"))
    assert len(changed) > 2000
    assert not any(True in each for each in changed)
    assert changed.count([False]) / len(changed) > 0.94


# --- drawn --------------------------------------------------------------------------------------


class Said(NamedTuple):
    text: str
    value: Fraction


PLUS = (" + ", "+", " plus ", " ＋ ")
MINUS = (" - ", " − ", " – ", " minus ")
TIMES = (" × ", "×", " * ", " x ", " \\times ", " \\cdot ", " times ", " multiplied by ", " ⋅ ")
OVER = (" ÷ ", " / ", "/", " \\div ", " divided by ")
MOD = (" mod ", " % ", " \\bmod ", " modulo ")
UNITS = ("", " apples", " km", " boxes of pencils", " ft", " cookies per batch", " सेब", " kg/box")
VULGAR = {Fraction(1, 2): "½", Fraction(1, 4): "¼", Fraction(3, 4): "¾", Fraction(1, 3): "⅓", Fraction(2, 3): "⅔"}


def whole(value: int) -> st.SearchStrategy[str]:
    """A natural number."""
    ways = [f"{value}", f"{value:,}", f"{value:,}".replace(",", "\u202f"), f"{value:,}".replace(",", "{,}")]
    ways += [f"{value}.0", f"${value}", f"**{value}**", f"\\text{{{value}}}", f"({value})", f"{{{value}}}"]
    ways += [f"{value:,}".replace(",", " ")] if value % 1000 < 100 and value >= 1000 else []
    ways += [f"{value // 1000} thousand"] if value and value % 1000 == 0 else []
    ways += [f"{value // 100}e2"] if value and value % 100 == 0 else []
    return st.sampled_from(ways)


def proper(value: Fraction) -> st.SearchStrategy[str]:
    """A positive number that is not whole."""
    over, rest = divmod(value, 1)
    top, bottom = value.as_integer_ratio()
    ways = [f"({top}/{bottom})", f"\\frac{{{top}}}{{{bottom}}}", f"\\dfrac{{{top}}}{{{bottom}}}"]
    if over:
        a, b = rest.as_integer_ratio()
        ways += [f"{over} {a}/{b}", f"{over}\\frac{{{a}}}{{{b}}}", f"{over} and {a}/{b}"]
    ways += [f"{over or ''}{VULGAR[rest]}"] if rest in VULGAR else []
    ways += [f"{float(value):.2f}", f"{float(value):.2f}".lstrip("0")] if (value * 100).denominator == 1 else []
    ways += [f"{value * 100}%", f"{value * 100} percent"] if (value * 100).denominator == 1 else []
    return st.sampled_from(ways)


@st.composite
def numbers(draw: st.DrawFn) -> Said:
    if draw(st.integers(0, 3)):
        value = Fraction(draw(st.integers(0, 12) | st.sampled_from([100, 250, 1000, 1250, 12_005, 400_000])))
        return Said(draw(whole(int(value))), value)
    value = Fraction(draw(st.integers(1, 30)), draw(st.sampled_from([2, 3, 4, 5, 8, 10])))
    return Said(draw(whole(int(value)) if value.denominator == 1 else proper(value)), value)


@st.composite
def operations(draw: st.DrawFn, operands: st.SearchStrategy[Said]) -> Said:
    """Each in brackets, so that no order of operations is in doubt."""
    kind = draw(st.sampled_from(["+", "-", "×", "÷", "mod", "^", "√", "!", "touch"]))
    a, b = draw(operands), draw(operands)
    if kind == "+":
        return Said(f"({a.text}{draw(st.sampled_from(PLUS))}{b.text})", a.value + b.value)
    if kind == "-":
        return Said(f"({a.text}{draw(st.sampled_from(MINUS))}{b.text})", a.value - b.value)
    if kind == "×":
        return Said(f"({a.text}{draw(st.sampled_from(TIMES))}{b.text})", a.value * b.value)
    if kind == "touch":
        return Said(f"(({a.text})({b.text}))", a.value * b.value)
    if kind in ("÷", "mod"):
        assume(b.value)
        sign = draw(st.sampled_from(OVER if kind == "÷" else MOD))
        by = f"({b.text})"  # a fraction below a slash may bind more tightly
        return Said(f"({a.text}{sign}{by})", a.value / b.value if kind == "÷" else a.value % b.value)
    n = draw(st.integers(0, 6))
    if kind == "^":
        power = st.sampled_from([f"{n}^3", f"{n}**3", f"{n}³", f"{n}^{{3}}", f"{n} cubed", f"{n} to the power of 3"])
        return Said(draw(power), Fraction(n**3))
    if kind == "√":
        root = st.sampled_from([f"√{n * n}", f"\\sqrt{{{n * n}}}", f"sqrt({n * n})", f"the square root of {n * n}"])
        return Said(f"({draw(root)})", Fraction(n))
    return Said(f"({n}!)", Fraction([1, 1, 2, 6, 24, 120, 720][n]))


TREES = st.recursive(numbers(), operations, max_leaves=4)
FRAMES: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: f"So {text}.",
    lambda text: f"We get {text}, so we are done",
    lambda text: f"Step 2: {text}",
    lambda text: f"- {text}\n- and so on",
    lambda text: f"1) {text}",
    lambda text: f"**{text}**",
    lambda text: f"$${text}$$",
    lambda text: f"\\({text}\\)",
    lambda text: f"`{text}`",
    lambda text: f"({text})",
    lambda text: f"| {text} |",
    lambda text: f"total = {text} (as wanted)",
    lambda text: f"that's {text} in all!",
    lambda text: f"2 + 2 = 4 and {text}",
    lambda text: f"Great! {text} apples left",
)


@st.composite
def statements(draw: st.DrawFn, error: int = 0) -> str:
    """`error`: by how much the right side is off."""
    left, unit = draw(operations(TREES)), draw(st.sampled_from(UNITS))
    value = left.value + error
    assume(value >= 0 and value < 10**9)
    shown = draw(whole(int(value)) if value.denominator == 1 else proper(value))
    text = f"{left.text}{unit} {draw(st.sampled_from(['=', '==', '&=']))} {shown}{unit}"
    return draw(st.sampled_from(FRAMES))(text)


@settings(max_examples=150)
@given(statements())
def test_no_true_statement_is_called_false(statement: str) -> None:
    assert False not in truths(statement)


@settings(max_examples=150)
@given(st.integers(1, 9).flatmap(statements))
def test_no_false_statement_is_called_true(statement: str) -> None:
    assert truths(statement.replace("2 + 2 = 4 and ", "")) in ([], [False])


@st.composite
def plain(draw: st.DrawFn, error: int = 0) -> str:
    """As everybody writes it: these all count."""
    a, b = draw(st.integers(1, 99)), draw(st.integers(1, 99))
    sign, value = draw(st.sampled_from([("+", a + b), ("-", a - b), ("×", a * b), ("*", a * b), ("x", a * b)]))
    left, right = f"{a} {sign} {b}", f"{value + error}"
    text = draw(st.sampled_from([f"{left} = {right}", f"{left}={right}", f"${left} = {right}$", f"{left} = ${right}"]))
    return draw(st.sampled_from(FRAMES))(text)


@given(plain())
def test_plain_statements_count(statement: str) -> None:
    assert truths(statement.replace("2 + 2 = 4 and ", "")) == [True]


@given(st.integers(1, 9).flatmap(plain))
def test_plain_mistakes_are_found(statement: str) -> None:
    found = truths(statement.replace("2 + 2 = 4 and ", ""))
    assert found == [False] or (found == [] and statement.startswith("- "))  # the dash may be a minus


@given(st.integers(0, 200), st.integers(2, 12), st.integers(-1, 1), st.data())
def test_remainders_are_read(a: int, b: int, error: int, data: st.DataObject) -> None:
    quotient, rest = divmod(a, b)
    assume(rest + error >= 0)
    over = data.draw(st.sampled_from(OVER))
    said = data.draw(
        st.sampled_from(
            [
                "remainder {}",
                "R {}",
                "R{}",
                "r {}",
                "rem. {}",
                "(remainder {})",
                "with a remainder of {}",
                ", remainder {}",
            ]
        )
    )
    shown = said.format(rest + error)
    assert truths(f"so {a}{over}{b} = {quotient}{'' if shown[0] == ',' else ' '}{shown}.") == [error == 0]


TORN = (
    *(
        "x",
        "x_",
        "x_{1} ",
        "y ",
        "2x + ",
        "π × ",
        "2π + ",
        "\\alpha + ",
        "\\alpha ",
        "√2 + ",
        "|",
        "f(1) + ",
        "log ",
        "3:",
        "1,",
    ),
    *("twice ", "half of ", "three-quarters of ", "the square of ", "5 more than ", "3 less than ", "subtract 2 from "),
    *(
        "3 boys and ",
        "1 hour ",
        "1 hour and ",
        "Week 1 + Week ",
        "two times ",
        "15 div ",
        "12, 13, ",
        "... + ",
        "6 & ",
        "1 << ",
    ),
)


@given(st.sampled_from(TORN), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_what_is_torn_from_what_stands_before_it_does_not_count(before: str, a: int, b: int, error: int) -> None:
    assert truths(f"{before}{a} + {b} = {a + b + error}") == []


SIGNS = "0123456789+-×÷*/=≈()%.^!√∛ ,:x|_$<>…'{}[]½²\\\n"
PIECES = ("1/2", "2 1/2", "...", "e5", "0x1", "12 345", "√4", "\\frac{1}{2}", "\\sqrt{4}")
WORDS = ("=", "of", "and", "mod", "times", "remainder", "R", "km", "hour", "million", "half", "-", "the", "to")


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([*SIGNS, *PIECES, *(f" {word} " for word in WORDS)]), max_size=40).map("".join)
    | st.text(max_size=60)
)
def test_whatever_is_written_is_read_or_left(output: str) -> None:
    assert all(isinstance(each, bool) for each in truths(output))


GOING_ON = (
    "x",
    " x",
    "π",
    " + x",
    " × ",
    " or 2",
    " to 9",
    ":30",
    ",5",
    ".(3)",
    "\\pi",
    " ± 1",
    " and a half",
    "^x",
    "(x + 1)",
    "!=5",
)


@given(st.sampled_from(GOING_ON), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_what_goes_on_into_something_without_a_value_does_not_count(after: str, a: int, b: int, error: int) -> None:
    assert truths(f"{a} + {b} = {a + b + error}{after}") == []


@given(st.sampled_from(["!=", "≠", "\\neq", "<=", ">=", "≤", "=/=", "=>"]), st.integers(1, 9), st.integers(1, 9))
def test_what_is_no_equals_sign_is_none(sign: str, a: int, b: int) -> None:
    assert truths(f"{a} + {b} {sign} {a + b + 1}") == []
