"""The config of a study: one YAML file, every field typed, unknown keys refused.

    study: quickstart
    seeds: [42]
    data: {train: {path: traces.jsonl}, eval: {path: eval.jsonl}}
    split: {stages: [{name: a, rules: [{category: [synthetic]}]}, {name: b, rules: [{category: [reasoning]}]}]}
    model: {scratch: {tokenizer: {kind: characters}}}
    training: {batch_size: 64, learning_rate: 1.0e-3}

Relative paths are relative to the config file's own folder. Each field is documented below it.
"""

from stagewise.config.arm import BASELINE, NAMED, Arm, Controlled, Mixed, OwnBudget, Paced, Phased
from stagewise.config.data import (
    GenerateSource,
    Generator,
    HubSource,
    PathSource,
    Quantiles,
    Range,
    Rule,
    Source,
    Split,
)
from stagewise.config.evaluation import CHECKPOINT, Evaluation, Extractor, Matcher, Primary, Promotion, Server
from stagewise.config.model import FolderModel, GGUFModel, HubModel, Model, Scratch, ScratchModel, Tokenizer
from stagewise.config.reading import load, parse, read, resolved
from stagewise.config.section import known
from stagewise.config.top import Compute, Config
from stagewise.config.training import Training

__all__ = [
    "BASELINE",
    "CHECKPOINT",
    "NAMED",
    "Arm",
    "Compute",
    "Config",
    "Controlled",
    "Evaluation",
    "Extractor",
    "FolderModel",
    "GGUFModel",
    "GenerateSource",
    "Generator",
    "HubModel",
    "HubSource",
    "Matcher",
    "Mixed",
    "Model",
    "OwnBudget",
    "Paced",
    "PathSource",
    "Phased",
    "Primary",
    "Promotion",
    "Quantiles",
    "Range",
    "Rule",
    "Scratch",
    "ScratchModel",
    "Server",
    "Source",
    "Split",
    "Tokenizer",
    "Training",
    "known",
    "load",
    "parse",
    "read",
    "resolved",
]
