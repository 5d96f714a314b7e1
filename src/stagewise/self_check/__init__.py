"""Which ways of decoding and of training are right for a model, found by trying them on the model itself.

    ways = found(loaded, caches, "auto")
    Ways("JambaForCausalLM", decoding="select", layouts=("padded", "single"), differences={"select": 3e-07, …})

An architecture may not know the argument by which the decoder hands it its cache, take padding for text, or look at
what stands after a token. Nothing fails then, and every answer is wrong. So before a base model is recorded, a few
prompts of mixed length are answered in each way, rows ending at different times, and held against `model.generate` at
batch size 1; and a few examples are laid out as in training, and held against each of them alone. All of it is
computed in float32, where what differs by more than TOLERANCE is no rounding.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch

from stagewise.atomic import written
from stagewise.errors import ModelError
from stagewise.evaluation.generation import DECODING, Decoding
from stagewise.hashing import digest_json
from stagewise.model.device import device_kind
from stagewise.model.loading import Loaded
from stagewise.record.code import code_digest, deciding_versions
from stagewise.self_check.trial import LENGTHS, TOLERANCE, Trial, checksums, reason, undisturbed, windows
from stagewise.training.attention import known
from stagewise.training.batching import LAYOUTS, Layout

AGAIN = 2
"""Draws of other prompts for what differs on the first; it must agree on all of them. In a mixture of experts rounding
alone may send a token to another expert, once in many thousand tokens, and its logits are others then."""
NARROW = 8
"""Tokens of a sliding window in a second look, so that short prompts reach beyond it."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What is right for a model: its decoding, and its layouts, fastest first. `differences` has the largest one found
    for each way that is right (a share of the largest logit), `rejected` says why another is not."""

    architecture: str
    decoding: Decoding
    layouts: tuple[Layout, ...]
    differences: Mapping[str, float] = field(default_factory=dict)
    rejected: Mapping[str, str] = field(default_factory=dict)

    @property
    def taken(self) -> dict[str, Any]:
        """What decides the bits of training and the answers, as JSON values: a part of fingerprints."""
        return {"decoding": self.decoding, "layouts": list(self.layouts)}

    @property
    def facts(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self) | {"layouts": list(self.layouts)}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        return cls(**{**facts, "layouts": tuple(facts["layouts"])})

    @property
    def in_words(self) -> str:
        return f"decoding {self.decoding}, training {self.layouts[0]}"

    @property
    def remarks(self) -> list[str]:
        """A line for each way that is not used."""
        return [f"{self.architecture}: {way} is not used: {reason}" for way, reason in self.rejected.items()]


def found(loaded: Loaded, caches: Path, device: str) -> Ways:
    """The ways that are right for the model on the device where it is, kept below `caches` for its architecture, config
    and packages. `device` is the config's word for that device. Raises `ModelError` as `check` does."""
    path = caches / "selfcheck" / f"{_digest(loaded, device)}.json"
    if path.is_file():
        return Ways.of(json.loads(path.read_bytes()))
    ways = check(loaded)
    with written(path) as partial:
        partial.write_text(json.dumps(ways.facts))
    return ways


def _digest(loaded: Loaded, device: str) -> str:
    config = loaded.model.config.to_dict()
    for name in ("_name_or_path", "transformers_version", "dtype"):  # where from, and what the check does not use
        config.pop(name, None)
    return digest_json(
        {
            "architecture": type(loaded.model).__name__,
            "config": json.dumps(config, sort_keys=True, default=str),  # as text: some limits in it are infinite
            "pad": loaded.tokenizer.pad_token_id,
            "packages": deciding_versions("train"),
            "device": device_kind(device),
            "code": code_digest("self_check"),
        }
    )


def check(loaded: Loaded) -> Ways:
    """Tries the ways on the model, which is left as it was, and so are torch's random numbers.

    Raises `ModelError` for a model that looks at what follows a token, whose `generate` disagrees with itself, or that
    nothing here would train or evaluate rightly.
    """
    tried = _Tried(loaded)
    with undisturbed(loaded.model):
        weights = checksums(loaded.model)
        tried.check_model()
        decoding = next((way for way in DECODING if tried.right(way, partial(Trial.decoded, way=way))), None)
        candidates = [layout for layout in LAYOUTS if layout != "joined" or known(loaded.model)]
        layouts = [each for each in candidates if tried.right(each, partial(Trial.laid_out, layout=each))]
        if checksums(loaded.model) != weights:
            raise ModelError(
                f"{tried.name}: its forward pass changes its own weights, so it cannot be recorded as it is"
            )
    if decoding is None or not layouts:
        reasons = "; ".join(f"{way}: {reason}" for way, reason in tried.rejected.items())
        raise ModelError(f"{tried.name}: no way to {'train' if decoding else 'decode'} it is right ({reasons})")
    right = {what: value for what, value in tried.differences.items() if what not in tried.rejected}
    rounded = {what: float(f"{value:.1e}") for what, value in right.items()}
    return Ways(tried.name, decoding, tuple(layouts), rounded, tried.rejected)


@dataclass(frozen=True, slots=True)
class _Tried:
    loaded: Loaded
    differences: dict[str, float] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    drawn: dict[int, list[Trial]] = field(default_factory=dict)  # by seed

    @property
    def name(self) -> str:
        return type(self.loaded.model).__name__

    def check_model(self) -> None:
        """Raises `ModelError` where the model itself is not fit for training or for answers."""
        self.trials(0)
        if not self.right("prefixes", Trial.prefixes):
            raise ModelError(
                f"{self.name}: what it makes of a text changes with what follows ({self.rejected['prefixes']}), so in "
                "training it would see what it is to learn; take a causal model"
            )
        if not self.right("itself", Trial.itself):
            raise ModelError(
                f"{self.name}: its own generate disagrees with its forward pass over the same tokens "
                f"({self.rejected['itself']}), so no answer of it can be trusted; take another architecture"
            )

    def right(self, what: str, difference: Callable[[Trial], float]) -> bool:
        """Whether it makes no difference beyond rounding; else the reason is in `rejected`."""
        try:
            largest = self.largest([0], difference)
            if largest > TOLERANCE:
                largest = self.largest(range(1, AGAIN + 1), difference)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of any kind: the model's code cannot do it
            self.rejected[what] = reason(error)
            return False
        self.differences[what] = largest
        if largest > TOLERANCE:
            other = "other tokens, or logits that are no numbers"
            self.rejected[what] = f"logits differ by {largest:.0e}" if largest < torch.inf else other
        return largest <= TOLERANCE

    def largest(self, seeds: Iterable[int], difference: Callable[[Trial], float]) -> float:
        return max(trial.measured(difference) for seed in seeds for trial in self.trials(seed))

    def trials(self, seed: int) -> list[Trial]:
        """The model as it is, and with its sliding windows narrowed where they are wider than the prompts."""
        if seed not in self.drawn:
            wide = any(window > max(LENGTHS) for window in windows(self.loaded.model).values())
            widths = [None, NARROW] if wide else [None]
            self.drawn[seed] = [Trial.of(self.loaded, seed, width) for width in widths]
        return self.drawn[seed]
