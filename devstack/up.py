"""Run the whole local stack in the foreground, and print requests to paste."""

import contextlib
import signal
import sys
import threading
from types import FrameType

from devstack.issuer.server import Job
from devstack.stack import Stack, Upstreams

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


def run(port: int, *, memory_registry: bool = False) -> int:
    """Run the stack until Ctrl-C or SIGTERM; return the exit status."""
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with contextlib.ExitStack() as cleanup:
        upstreams = cleanup.enter_context(Upstreams(docker_registry=not memory_registry))
        try:
            stack = cleanup.enter_context(Stack(upstreams, port=port, show_log=True))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        print(_introduction(stack, stack.issuers.github.job()), flush=True)
        if upstreams.registry_note:
            print(f"docker-registry is not used: {upstreams.registry_note}", flush=True)
        while not ended.wait(0.5):
            if not stack.host.running:
                print("the service has ended", file=sys.stderr)
                return 1
    return 0


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
