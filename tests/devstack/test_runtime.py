"""The sample app runs under the real worker library."""

import sys
from pathlib import Path

import pytest

from devstack.host.runtime import Invocation, WorkerRun, ensure_venv, run_worker

SAMPLE = Path(__file__).parent / "sample_app"


@pytest.fixture(scope="module")
def worker() -> Path:
    return ensure_venv()


@pytest.fixture(scope="module")
def run(worker: Path) -> WorkerRun:
    calls = [
        Invocation(
            "a_parameter",
            method="POST",
            url="https://x.example/things/n?q=1",
            headers={"x-own": "1"},
            query={"q": "1"},
            route={"name": "n"},
            body=b"\x00body",
        ),
        Invocation("e_sync"),
        Invocation("f_raise"),
        Invocation("j_headers"),
    ]
    return run_worker(SAMPLE, {}, calls, python=worker)


def test_worker_is_the_one_of_python_313(run: WorkerRun) -> None:
    assert run.python.startswith("3.13.")


def test_worker_indexes_every_function(run: WorkerRun) -> None:
    assert sorted(run.functions)[:2] == ["a_parameter", "b_literal"]
    trigger = run.functions["a_parameter"][0]
    assert (trigger["type"], trigger["route"]) == ("httpTrigger", "things/{name}")


def test_request_reaches_an_async_function_whole(run: WorkerRun) -> None:
    told = run.responses[0].json()
    assert (told["method"], told["url"], told["body"]) == ("POST", "https://x.example/things/n?q=1", "\x00body")
    assert (told["headers"], told["params"], told["route"]) == ({"x-own": "1"}, {"q": "1"}, {"name": "n"})


def test_sync_function_gets_its_context(run: WorkerRun) -> None:
    told = run.responses[1].json()
    assert told["context"]["name"] == "e_sync"
    assert told["imported_in_a_loop"] is True


def test_exception_is_reported_without_a_body(run: WorkerRun) -> None:
    assert run.responses[2].error == "ValueError: nobody caught this one"
    assert (run.responses[2].status, run.responses[2].body) == (500, b"")


def test_status_and_headers_pass(run: WorkerRun) -> None:
    answer = run.responses[3]
    assert (answer.status, answer.body, answer.headers["X-Own"]) == (418, b"teapot", "yes")


def test_app_that_cannot_be_loaded_is_an_error(worker: Path, tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text("raise ValueError('no good')\n")
    with pytest.raises(RuntimeError, match="no good"):
        run_worker(tmp_path, {}, [], python=worker)


def test_interpreter_without_the_library_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="azure_functions_runtime"):
        run_worker(SAMPLE, {}, [], python=Path(sys.executable))
