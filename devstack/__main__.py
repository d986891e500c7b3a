"""The command line of the local stack: `python -m devstack up | token | host | demo`."""

import argparse
import sys
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent
_DEFAULT_PORT = 7071


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devstack", description="The local stack, on 127.0.0.1.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="run issuers, identity endpoint, registry and service until Ctrl-C")
    up.add_argument("--port", type=int, default=_DEFAULT_PORT, help="the service's port (default: %(default)s)")
    up.add_argument(
        "--policy",
        metavar="FILE",
        type=Path,
        help="any policy, a file or a directory: its issuers and registries are mapped to loopback ones",
    )
    token = commands.add_parser("token", help="print a token of an issuer of the running stack")
    token.add_argument("--issuer", metavar="NAME", required=True, help="the issuer, by its name in the policy")
    token.add_argument(
        "--claim", metavar="KEY=VALUE", action="append", default=[], help="set a claim, or what a JSON Pointer names"
    )
    token.add_argument("--omit", metavar="KEY", action="append", default=[], help="leave a claim out")
    token.add_argument("--port", type=int, default=_DEFAULT_PORT, help="the service's port (default: %(default)s)")
    host = commands.add_parser("host", help="run only the function app, with the settings of the environment")
    host.add_argument("--port", type=int, default=_DEFAULT_PORT, help="0 picks a free one (default: %(default)s)")
    host.add_argument("--app", type=Path, default=_PROJECT, help="the directory of function_app.py and host.json")
    demo = commands.add_parser("demo", help="play the whole story, step by step; exit 0 when all went as told")
    for command in (up, demo):
        command.add_argument(
            "--memory-registry", action="store_true", help="keep images in memory instead of in docker-registry"
        )
    return parser


def _token(options: argparse.Namespace) -> int:
    from devstack import desk

    try:
        print(desk.fetch(options.port, options.issuer, options.claim, options.omit))
    except desk.DeskError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status. Each command imports only what it needs."""
    options = _parser().parse_args(arguments)
    if options.command == "host":
        from devstack.host import server as host

        return host.run(options.app, options.port)
    if options.command == "up":
        from devstack import up

        return up.run(options.port, memory_registry=options.memory_registry, policy=options.policy)
    if options.command == "token":
        return _token(options)
    from devstack import demo

    return demo.run(memory_registry=options.memory_registry)


if __name__ == "__main__":
    sys.exit(main())
