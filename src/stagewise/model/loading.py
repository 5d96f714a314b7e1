"""Models in and out: from scratch, a folder, the hub or a GGUF file; always out as safetensors.

base = create(config.model, seed=42, texts=[...], base=Path("configs"))   # a Loaded model and tokenizer
save(base, folder)
load(folder)                                                              # the same bits again
"""

import contextlib
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from filelock import FileLock
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from stagewise import config as cfg
from stagewise.atomic import written
from stagewise.errors import ModelError
from stagewise.hashing import sha256_file

transformers.utils.logging.disable_progress_bar()  # one a shard, for files that are read in a moment
# Recurrent families ask at each start for kernels that only a GPU could run.
if not torch.cuda.is_available():
    for handler in logging.getLogger("transformers").handlers:
        handler.addFilter(lambda record: "is falling back to its reference" not in record.getMessage())

EOS, PAD, UNKNOWN = "<eos>", "<pad>", "<unk>"
# A digit and a capital letter are tokens of their own, so that sums and spelling see characters.
SINGLE = Regex(r"[0-9A-Z]")


class Loaded(NamedTuple):
    model: Any
    tokenizer: Any


def create(source: cfg.Model, seed: int, texts: Sequence[str], base: Path, cache: Path) -> Loaded:
    """The base model of a study. `texts`, the training data, make the tokenizer of a model from scratch;
    relative paths are relative to `base`; a converted GGUF file is kept below `cache`."""
    if isinstance(source, cfg.ScratchModel):
        return _scratch(source.scratch, seed, texts)
    if isinstance(source, cfg.FolderModel):
        return load(base / Path(source.path).expanduser(), source.dtype)
    if isinstance(source, cfg.HubModel):
        return _from_hub(source)
    return load(_converted(gguf_file(source.gguf, base), cache), source.dtype)


def load(folder: Path, dtype: str = "auto") -> Loaded:
    """A model and its tokenizer from a folder. No code of the folder's is run, no pickle is read."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no model here: found no config.json, expected a folder written by save_pretrained")
    if not any(folder.glob("*.safetensors")):
        found = sorted(path.name for path in folder.iterdir())
        raise ModelError(f"{folder}: no weights here: expected *.safetensors, found {', '.join(found)}")
    with _readable(str(folder)):
        return _checked(*_pretrained(str(folder), dtype), str(folder))


def load_tokenizer(folder: Path) -> Any:
    """Only the tokenizer, where something else holds the weights."""
    with _readable(str(folder)):
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)


def save(loaded: Loaded, folder: Path) -> None:
    """Weights, config, generation config and tokenizer; what `load` reads."""
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)


def parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def buffers(model: Any) -> int:
    """Values that are saved with the weights and are no parameters: a router's biases, a table of decays."""
    learned = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return sum(value.numel() for name, value in model.state_dict().items() if name not in learned)


def positions(model: Any) -> int | None:
    """Tokens of the longest sequence that the model is made for; None where it has no such limit."""
    found: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return found if found is not None and found > 0 else None  # -1 is some families' word for none


# --- from scratch -------------------------------------------------------------------------------


def _scratch(shape: cfg.Scratch, seed: int, texts: Sequence[str]) -> Loaded:
    tokenizer = build_tokenizer(shape.tokenizer, texts)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=shape.max_positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Loaded(LlamaForCausalLM(config), tokenizer)


def build_tokenizer(settings: cfg.Tokenizer, texts: Sequence[str]) -> Any:
    """A tokenizer learned from the texts: byte-level BPE, or their characters."""
    specials = [PAD, EOS]
    if settings.kind == "characters":
        alphabet = [*specials, UNKNOWN, *sorted(set("".join(texts)))]
        core = Tokenizer(models.WordLevel({token: index for index, token in enumerate(alphabet)}, unk_token=UNKNOWN))
        core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        core.decoder = decoders.Fuse()
    else:
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(SINGLE, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        core.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=settings.vocab_size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
        )
        core.train_from_iterator(texts, trainer)
    unknown = {"unk_token": UNKNOWN} if settings.kind == "characters" else {}
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=EOS, pad_token=PAD, **unknown)


# --- pretrained ---------------------------------------------------------------------------------


def _pretrained(name: str, dtype: str, **options: Any) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(
        name, dtype=dtype, use_safetensors=True, trust_remote_code=False, **options
    )
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)
    return model, tokenizer


def _from_hub(source: cfg.HubModel) -> Loaded:
    with _readable(f"{source.hub} at {source.revision}"):
        return _checked(*_pretrained(source.hub, source.dtype, revision=source.revision), source.hub)


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turns what transformers raises for a model that it cannot read into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{name}: cannot be loaded as a causal language model: {first}") from error


def _checked(model: Any, tokenizer: Any, name: str) -> Loaded:
    """Holds model and tokenizer against each other, and gives a tokenizer without padding its EOS for it."""
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{name}: the tokenizer has no EOS token, so the model could not learn to stop")
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ModelError(f"{name}: the tokenizer has {len(tokenizer)} tokens, the model has embeddings for {rows}")
    for place in ("is_local", "local_files_only"):  # where it was loaded from is not part of a tokenizer
        tokenizer.init_kwargs.pop(place, None)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Loaded(model, tokenizer)


# --- GGUF ---------------------------------------------------------------------------------------


def gguf_file(name: str, base: Path) -> Path:
    package, _, file = name.partition(":")
    if not file:
        path = base / Path(name).expanduser()
    else:
        spec = importlib.util.find_spec(package)  # found and not imported: only its file is wanted
        if spec is None or spec.origin is None:
            raise ModelError(f"model.gguf: no Python package {package!r} is installed")
        path = Path(spec.origin).parent / file
    if not path.is_file():
        raise ModelError(f"{path}: no such GGUF file")
    return path


def _converted(file: Path, cache: Path) -> Path:
    """The folder with the file's weights dequantised to float32, made once for each content and version."""
    folder = cache / "gguf" / f"{sha256_file(file)}-transformers-{transformers.__version__}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            with _readable(str(file)):
                model = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype="float32")
                tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
            # The weights are plain now; while the model calls itself quantised it refuses to be saved.
            model.hf_quantizer = None
            del model.config.quantization_config
            with written(folder) as partial:
                save(Loaded(model, tokenizer), partial)
    return folder
