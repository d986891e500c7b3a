"""Run the whole local stack in the foreground, and print requests to paste."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from devstack.desk import Desk, Named
from devstack.issuer.server import Job
from devstack.mapping import PolicyIssuers, Source
from devstack.stack import DEFAULT_PORT, Stack, Upstreams
from vending.policy import PolicyError

_SETTINGS = {"VENDING_POLICY_REFRESH_SECONDS": "1"}
"""Whoever edits a policy tries it at once, and would not wait for the minute that is the default."""

_TEXT = """
The local stack is running; Ctrl-C ends it.

  service     {service}
  issuers     {issuers}/github, /gitlab, /cluster (and /other, which the policy does not know)
  registry    {registry}, {backend}
  policy      {policy} (edits are picked up)

A job on main of contoso/web trades its token, which lives five minutes and is good for one use:

curl -sS {service}/token \\
  -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \\
  -d scope=repository:web/api:pull,push \\
  -d subject_token={token}

A fresh token, as a GitHub runner hands it out:

curl -sS -H 'Authorization: bearer {secret}' '{runner}&audience={audience}'
"""


_MAPPED = """
The local stack is running with {policy}; Ctrl-C ends it.

  service     {service}
  issuers     {issuers}
  registries  {registries}

Edits of the policy are picked up. Try a rule: choose the claims of a job, and the scope that it asks for.

curl -sS {service}/explain \\
  -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange{audience} \\
  -d scope=repository:<name>:pull \\
  -d subject_token=$(python -m devstack token{port} --issuer {issuer} --claim KEY=VALUE)
"""


def run(port: int, *, memory_registry: bool = False, policy: Path | None = None) -> int:
    """Run the stack until Ctrl-C or SIGTERM; return the exit status."""
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    if policy is not None:
        return _run_mapped(policy, port, ended, memory_registry=memory_registry)
    with contextlib.ExitStack() as cleanup:
        upstreams = cleanup.enter_context(Upstreams(docker_registry=not memory_registry))
        try:
            stack = cleanup.enter_context(Stack(upstreams, settings=_SETTINGS, port=port, show_log=True))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        known = {"github": "github", "gitlab": "gitlab", "cluster": "kubernetes"}
        named = {name: Named(stack.issuers.all[name], preset) for name, preset in known.items()}
        _open_desk(cleanup, stack, named)
        print(_introduction(stack, stack.issuers.github.job()), flush=True)
        if upstreams.registry_note:
            print(f"docker-registry is not used: {upstreams.registry_note}", flush=True)
        return _wait(stack, ended)


def _wait(stack: Stack, ended: threading.Event, each_time: Callable[[], None] = lambda: None) -> int:
    while not ended.wait(0.5):
        each_time()
        if not stack.host.running:
            print("the service has ended", file=sys.stderr)
            return 1
    return 0


def _open_desk(cleanup: contextlib.ExitStack, stack: Stack, named: Mapping[str, Named]) -> int:
    """Let `python -m devstack token` find the stack; return the service's port."""
    port = int(stack.url.rpartition(":")[2])
    desk = cleanup.enter_context(Desk(named).start(stack.upstreams.loop))
    cleanup.enter_context(desk.announced(port))
    return port


def _run_mapped(policy: Path, port: int, ended: threading.Event, *, memory_registry: bool) -> int:
    """Run the stack with any policy, its issuers and registries mapped to loopback ones."""
    try:
        source = Source.read(policy)
    except PolicyError as error:
        print(error, file=sys.stderr)
        return 1
    with contextlib.ExitStack() as cleanup:
        upstreams = Upstreams(docker_registry=not memory_registry, audience=source.data["audience"])
        cleanup.enter_context(upstreams)
        issuers = cleanup.enter_context(PolicyIssuers(source).start(upstreams.loop))
        first, *others = source.data["registries"]
        hosts = {first: upstreams.registry.login_server}
        hosts |= {name: upstreams.new_registry().login_server for name in others}
        try:
            text = source.mapped(issuers.named, hosts)
            stack = Stack(
                upstreams, policy=text, policy_name="policy.json", settings=_SETTINGS, port=port, show_log=True
            )
            cleanup.enter_context(stack)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        port = _open_desk(cleanup, stack, issuers.named)
        print(_introduction_to(policy, stack, issuers.named, hosts, port), flush=True)
        return _wait(stack, ended, _Watch(source, stack, issuers.named, hosts))


class _Watch:
    """Map the policy again whenever it has changed and loads."""

    def __init__(self, source: Source, stack: Stack, issuers: Mapping[str, Named], hosts: Mapping[str, str]) -> None:
        self._source = source
        self._stack = stack
        self._issuers = issuers
        self._hosts = hosts
        self._seen = self._stamp()

    def _stamp(self) -> object:
        path = self._source.path
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        with contextlib.suppress(OSError):
            return [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
        return None

    def __call__(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen or stamp is None:
            return
        self._seen = stamp
        try:
            fresh = Source.read(self._source.path)
        except PolicyError as error:
            print(f"{error}\nthe last good policy stays in force", file=sys.stderr, flush=True)
            return
        if fresh.names != self._source.names:
            print("issuers or registries have changed: start the stack again", file=sys.stderr, flush=True)
            return
        self._stack.write_policy(fresh.mapped(self._issuers, self._hosts))
        print("the policy has changed", file=sys.stderr, flush=True)


def _introduction_to(
    policy: Path, stack: Stack, issuers: Mapping[str, Named], hosts: Mapping[str, str], port: int
) -> str:
    first = next(iter(hosts))
    return _MAPPED.format(
        policy=policy,
        service=stack.url,
        issuers=", ".join(f"{name} ({named.preset})" for name, named in issuers.items()),
        registries=", ".join(f"{name} ({host})" for name, host in hosts.items()),
        audience=f" \\\n  -d audience={first}" if len(hosts) > 1 else "",
        port="" if port == DEFAULT_PORT else f" --port {port}",
        issuer=next(iter(issuers)),
    )


def _introduction(stack: Stack, job: Job) -> str:
    return _TEXT.format(
        service=stack.url,
        issuers=stack.issuers.url,
        registry=stack.registry.login_server,
        backend=stack.registry.backend.description,
        policy=stack.policy_path,
        token=stack.issuers.github.token(),
        secret=job.github_env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"],
        runner=job.github_env["ACTIONS_ID_TOKEN_REQUEST_URL"],
        audience=stack.audience,
    )
