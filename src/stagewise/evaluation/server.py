"""Answers from an OpenAI-compatible server: the engine `openai`.

    POST http://127.0.0.1:8000/v1/completions
    {"model": "study", "prompt": "What is 12 × 3?\\n", "max_tokens": 128, "temperature": 0.0, "stop": ["\\n\\n"]}
    {"choices": [{"text": "12 × 3 = 36\\n36", "finish_reason": "stop"}], "usage": {"completion_tokens": 11}}

Every prompt is a request of its own, a batch's requests go out together, and an answer counts only when all of
its batch are there. Nothing shows which weights answered, so these predictions are marked as unverified.
"""

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any

from stagewise.config import Evaluation, Server
from stagewise.errors import RefusalError, ServerError
from stagewise.evaluation.generation import Answer, Prompt, cut

KEY = "OPENAI_API_KEY"
PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses after which another try may succeed


class Client:
    def __init__(self, server: Server, settings: Evaluation, checkpoint: str, bos: str | None = None) -> None:
        self.server, self.settings = server, settings
        self.model = server.model_of(checkpoint)
        self.bos = bos or ""
        self.url = f"{server.url.rstrip('/')}/completions"
        self.key = os.environ.get(KEY)

    def __call__(self, prompts: Sequence[Prompt]) -> list[Answer]:
        with ThreadPoolExecutor(self.server.concurrency) as pool:
            futures = [pool.submit(self._answer, prompt) for prompt in prompts]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # what is not sent yet would be thrown away
                raise

    def _answer(self, prompt: Prompt) -> Answer:
        reply = self._post(self._body(prompt), prompt.item)
        try:
            (choice,) = reply["choices"]
            text, reason, tokens = choice["text"], choice["finish_reason"], reply["usage"]["completion_tokens"]
            text.encode()
        except (TypeError, KeyError, ValueError, AttributeError):
            found = json.dumps(reply)[:200]
            expected = "one completion with text, finish_reason and usage.completion_tokens"
            raise self._failed(prompt.item, f"found {found}, expected {expected}") from None
        if reason not in ("stop", "length") or type(tokens) is not int:
            found = f"finish_reason {reason!r} and {tokens!r} completion tokens"
            raise self._failed(prompt.item, f"found {found}, expected stop or length, and a number")
        return Answer(cut(text, self.settings.stop), tokens, reason, near_ties=None)

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        settings = self.settings
        body = {
            "model": self.model,
            # Servers put a BOS before every text themselves, and read special tokens in it.
            "prompt": list(prompt.ids) if prompt.spells else prompt.text.removeprefix(self.bos),
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
        }
        if settings.temperature:
            body |= {"top_p": settings.top_p, "seed": prompt.seed}
        return body | ({"stop": list(settings.stop)} if settings.stop else {})

    def _post(self, body: dict[str, Any], item: str) -> Any:
        request = urllib.request.Request(self.url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        if self.key:
            request.add_unredirected_header("Authorization", f"Bearer {self.key}")
        for attempt in range(self.server.retries + 1):
            try:
                with urllib.request.urlopen(request, timeout=self.server.timeout) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                problem = f"HTTP {error.code} {error.reason}: {_said(error)}"
                if error.code not in PASSING:
                    raise RefusalError(str(self._failed(item, problem))) from None
            except TimeoutError:
                problem = f"no answer within {self.server.timeout:g} s"
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = f"{getattr(error, 'reason', error) or type(error).__name__}"
            if attempt < self.server.retries:
                sleep(0.5 * 2**attempt)
        raise self._failed(item, f"{problem}; tried {self.server.retries + 1} times")

    def _failed(self, item: str, problem: str) -> ServerError:
        return ServerError(f"{self.url}: item {item}: {' '.join(problem.split())}")


def _said(error: urllib.error.HTTPError) -> str:
    """The start of the body that came with an HTTP error."""
    try:
        return error.read(300).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return ""
