"""Bytes / bytes deflated, without zlib's header ∞ (Shaib et al. 2024, arXiv:2403.00553); higher is more redundant.

The header would outweigh a short output. Another build of zlib may differ a little.
"""

import zlib

from stagewise.evaluation.structure.response import Response

KIND = "amount"


def compression(response: Response) -> float | None:
    raw = response.output.encode("utf-8", "surrogatepass")
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return len(raw) / len(deflate.compress(raw) + deflate.flush()) if raw else None
