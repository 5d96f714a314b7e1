"""What `mlflow models serve` runs: a checkpoint that completes prompts greedily. This file lies beside the weights.

    POST /invocations  {"inputs": ["What is 12 × 3?"], "params": {"max_new_tokens": 64, "stop": ["\\n\\n"]}}
    {"predictions": ["12 × 3 = 36\\n36"]}

It is MLflow's models-from-code: source text, no pickle; and it imports nothing of stagewise, so that the model
runs where only its requirements are installed. Prompts are answered one by one, so that none depends on another.
"""

from typing import Any

import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

MARK = "\ue000"  # of Unicode's private use: stands in no text


class Completion(PythonModel):
    """Settings, from the MLmodel: `chat`, `template` and `start` make the prompt's tokens, as in training."""

    def load_context(self, context: Any) -> None:
        folder = context.artifacts["model"]
        self.settings = context.model_config
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype="float32", use_safetensors=True, trust_remote_code=False
        ).eval()
        self.model.to("cuda" if torch.cuda.is_available() else "cpu")
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self.ends = sorted({self.tokenizer.eos_token_id, *(end for end in ends if end is not None)})
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 0
        self.positions = limit if limit > 0 else None
        added = {index for index, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        self.special = {*added, *self.tokenizer.all_special_ids} - {self.tokenizer.unk_token_id}
        self.unknown = self.tokenizer.unk_token
        # Of its own config nothing else counts: what a model was published with, a temperature say, is not asked for.
        self.model.generation_config = GenerationConfig()

    def predict(self, context: Any, model_input: list[str], params: dict[str, Any] | None = None) -> list[str]:
        asked = params or {}
        limit = asked.get("max_new_tokens", self.settings["max_new_tokens"])
        return [self._complete(prompt, limit, list(asked.get("stop", []))) for prompt in model_input]

    def _ids(self, prompt: str) -> list[int]:
        """What a prompt spells is text, also where it looks like a special token; the template's own are meant."""
        filled = self._filled(prompt)
        if not (self.special.intersection(self._tokens(prompt)) or (self.unknown and self.unknown in prompt)):
            ids = self._tokens(filled)
        elif self.settings["chat"]:
            before, _, after = self._filled(MARK).partition(MARK)
            inner = filled.removeprefix(before).removesuffix(after)
            ids = [*self._tokens(before), *self._tokens(inner, split_special_tokens=True), *self._tokens(after)]
        else:
            ids = self._tokens(filled, split_special_tokens=True)
        return [*self.settings["start"], *ids]

    def _filled(self, prompt: str) -> str:
        if self.settings["chat"]:
            message = [{"role": "user", "content": prompt}]
            return str(self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
        return str(self.settings["template"]).replace("{prompt}", prompt)

    def _tokens(self, text: str, **options: bool) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, **options)["input_ids"])

    def _complete(self, prompt: str, limit: int, stop: list[str]) -> str:
        ids = torch.tensor([self._ids(prompt)], device=self.model.device)
        if self.positions is not None:
            limit = min(limit, self.positions - ids.shape[1])
        if limit < 1:
            raise ValueError(f"a prompt of {ids.shape[1]} tokens leaves no room for an answer")
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=limit,
            eos_token_id=self.ends,
            pad_token_id=self.tokenizer.pad_token_id,
            stop_strings=stop or None,
        )
        with torch.inference_mode():
            output = self.model.generate(
                ids, attention_mask=torch.ones_like(ids), generation_config=settings, tokenizer=self.tokenizer
            )
        said = output[0, ids.shape[1] :].tolist()
        said = said[:-1] if said and said[-1] in self.ends else said
        text = str(self.tokenizer.decode(said, skip_special_tokens=True))
        return text[: min([text.index(each) for each in stop if each in text], default=None)]


set_model(Completion())
