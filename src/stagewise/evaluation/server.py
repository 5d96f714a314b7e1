"""Answers from an OpenAI-compatible server: the engine `openai`.

    POST http://127.0.0.1:8000/v1/completions
    {"model": "study", "prompt": "What is 12 × 3?\\n", "max_tokens": 128, "temperature": 0.0, "stop": ["\\n\\n"]}
    {"choices": [{"text": "12 × 3 = 36\\n36", "finish_reason": "stop"}], "usage": {"completion_tokens": 11}}

Every prompt is a request of its own, a batch's requests go out together, and an answer counts only when all of
its batch are there. Nothing shows which weights answered, so these predictions are marked as unverified.
"""

import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, ReadTimeoutError

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
        key = os.environ.get(KEY)  # urllib3 keeps it from every other host that a server redirects to
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.retries = urllib3.Retry(
            server.retries,
            allowed_methods=None,  # POST too: a request asks for an answer and changes nothing
            status_forcelist=PASSING,
            backoff_factor=0.5,
            retry_after_max=math.ceil(server.timeout),
            raise_on_status=False,
        )
        self.http = _pool(self.url, maxsize=server.concurrency, timeout=server.timeout)

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
        tried = f"tried {self.server.retries + 1} times"
        try:
            response = self.http.request("POST", self.url, json=body, headers=self.headers, retries=self.retries)
        except MaxRetryError as error:
            raise self._failed(item, f"{self._why(error.reason)}; {tried}") from None
        except HTTPError as error:
            raise self._failed(item, self._why(error)) from None
        said = response.data[:300].decode(errors="replace")
        if response.status >= 400:
            problem = f"HTTP {response.status} {response.reason}: {said}"
            if response.status in PASSING:
                raise self._failed(item, f"{problem}; {tried}")
            raise RefusalError(str(self._failed(item, problem)))
        try:
            return response.json()
        except ValueError:
            raise self._failed(item, f"found {said!r}, expected JSON") from None

    def _why(self, error: Exception | None) -> str:
        # A refused connection is a kind of ConnectTimeoutError too.
        if isinstance(error, ReadTimeoutError) or type(error) is ConnectTimeoutError:
            return f"no answer within {self.server.timeout:g} s"
        return str(error.args[-1] if error and error.args else type(error).__name__)

    def _failed(self, item: str, problem: str) -> ServerError:
        return ServerError(f"{self.url}: item {item}: {' '.join(problem.split())}")


def _pool(url: str, **settings: Any) -> urllib3.PoolManager:
    """Connections to the server, by the proxy that the environment names for it (http_proxy, no_proxy), if any."""
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    if proxy is None:
        return urllib3.PoolManager(**settings)
    login = urllib3.util.parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **settings)
