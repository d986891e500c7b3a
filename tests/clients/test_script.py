"""acr-token.sh in every shell and with every awk that runners have; its JSON reader against Python's."""

import base64
import json
import random
import string
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .every import FAST, token_for
from .platforms import CLIENTS, base_environment, run
from .servers import USERNAME, Answer, granted, refusal, vendor
from .tools import debian

SCRIPT = str(CLIENTS / "acr-token.sh")
TOKEN = "header.payload-of-the-vended-token.signature"


@pytest.fixture(scope="session")
def programs() -> Path:
    """Return a directory with shells and awks that Debian's own installation lacks."""
    return debian("shells", "busybox-static", "gawk", "libsigsegv2", "original-awk", "yash", "ksh93u+m", "mawk")


SHELLS: dict[str, Callable[[Path], list[str]]] = {
    "dash": lambda _: ["dash"],
    "bash": lambda _: ["bash"],
    "bash-posix": lambda _: ["bash", "--posix"],
    "busybox": lambda root: [str(root / "bin/busybox"), "sh"],
    "yash": lambda root: [str(root / "usr/bin/yash")],
    "ksh": lambda root: [str(root / "bin/ksh93")],
}
AWKS = {
    "mawk": "usr/bin/mawk",
    "gawk": "usr/bin/gawk",
    "busybox": "bin/busybox",
    "original-awk": "usr/bin/original-awk",
}


def with_awk(environment: dict[str, str], root: Path, name: str, directory: Path) -> dict[str, str]:
    """Put one awk first on the PATH."""
    chosen = directory / "awk-bin"
    chosen.mkdir()
    applet = "awk " if name == "busybox" else ""
    library = f"LD_LIBRARY_PATH={root}/usr/lib/x86_64-linux-gnu " if name == "gawk" else ""
    (chosen / "awk").write_text(f'#!/bin/sh\n{library}exec {root / AWKS[name]} {applet}"$@"\n')
    (chosen / "awk").chmod(0o755)
    return {**environment, "PATH": f"{chosen}:{environment['PATH']}"}


@pytest.mark.parametrize("shell", SHELLS)
def test_login_works_in_every_shell(programs: Path, tmp_path: Path, shell: str) -> None:
    home = tmp_path / "it's a home"
    with vendor(refusal(503, "r", "Wait.", Retry_After="0"), Answer(body=granted(TOKEN))) as service:
        environment = base_environment(
            home, ACR_VENDING_URL=service.url, ACR_VENDING_ID_TOKEN=token_for(service.url), **FAST
        )
        (home / ".docker").mkdir()
        (home / ".docker" / "config.json").write_text('{"auths": {"ghcr.io": {"auth": "a2VwdA=="}}}')
        command = [*SHELLS[shell](programs), SCRIPT]
        calls = 'eval "$("$@" login)" && cat "$DOCKER_CONFIG/config.json"; eval "$("$@" logout)"'
        done = subprocess.run(
            ["sh", "-ec", calls, "sh", *command],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    auths = json.loads(done.stdout)["auths"]
    basic = base64.b64encode(f"{USERNAME}:{TOKEN}".encode()).decode()
    assert auths["contoso.azurecr.io"] == {"auth": basic, "registrytoken": TOKEN}
    assert auths["ghcr.io"] == {"auth": "a2VwdA=="}
    assert json.loads((home / ".docker" / "config.json").read_text()) == {"auths": {"ghcr.io": {"auth": "a2VwdA=="}}}


@pytest.mark.parametrize("awk", AWKS)
def test_it_works_with_every_awk(programs: Path, tmp_path: Path, awk: str) -> None:
    description = 'a "quote", \\ / \u00e9 \u20ac \U0001f600 100%'
    with vendor(refusal(400, "r", description), Answer(body=granted(TOKEN * 60))) as service:
        environment = base_environment(
            tmp_path / "home", ACR_VENDING_URL=service.url, ACR_VENDING_ID_TOKEN=token_for(service.url), **FAST
        )
        environment = with_awk(environment, programs, awk, tmp_path)
        refused = run(["sh", SCRIPT, "token"], environment, tmp_path)
        assert description in refused.stdout
        done = run(["sh", SCRIPT, "docker-config"], environment, tmp_path)
        assert json.loads(done.stdout)["auths"]["contoso.azurecr.io"]["registrytoken"] == TOKEN * 60
        before = {
            "auths": {"contoso.azurecr.io": {"auth": 'a "quoted" \\ one'}},
            "credHelpers": {},
            "x": [{}, {"y": []}],
        }
        config = tmp_path / "home" / ".docker" / "config.json"
        config.parent.mkdir()
        config.write_text(json.dumps(before))
        for _ in range(2):
            assert run(["sh", SCRIPT, "login"], environment, tmp_path).returncode == 0
        after = json.loads(config.read_text())
        assert after["auths"].pop("contoso.eastus.geo.azurecr.io")["registrytoken"] == TOKEN * 60
        assert after["auths"].pop("contoso.azurecr.io")["registrytoken"] == TOKEN * 60
        assert after == {**before, "auths": {}}
        assert run(["sh", SCRIPT, "logout"], environment, tmp_path).returncode == 0
    assert json.loads(config.read_text()) == before


def extracted(key: str, text: str, directory: Path, kind: str = "string", awk: str = "awk") -> tuple[int, str]:
    """Read a member of a JSON text with the script's own reader."""
    file = directory / "text.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    source = Path(SCRIPT).read_text()
    functions = source[source.index("# --- JSON") : source.index("# jwt_audience")]
    script = f'LC_ALL=C; export LC_ALL\n{functions}\njson "$1" "$2" "$3"'
    done = subprocess.run(
        ["sh", "-c", script.replace("awk -v", f"{awk} -v"), "sh", str(file), key, kind],
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"k":"v"}', "v"),
        (' { "a" : { "k" : "inner" } , "k" : "outer" } ', "outer"),
        ('{"a": ["k", "x"], "k": ""}', ""),
        ('{"a": "\\"k\\": \\"fooled\\"", "k": "right"}', "right"),
        ('{"\\u006b": "escaped key"}', "escaped key"),
        ('{"k": "\\ud83d\\ude00 \\u20ac \\u00e9 \\u0041"}', "\U0001f600 \u20ac \u00e9 A"),
        ('{"k": "\\ud83d alone"}', "\ufffd alone"),
        ('{"k": "\\u0000"}', "\ufffd"),
        ('{"k": "\\b\\f\\n\\r\\t\\/\\\\\\""}', '\b\f\n\r\t/\\"'),
        ('{"n": -1.5e+3, "t": true, "f": false, "z": null, "e": {}, "a": [], "k": "after"}', "after"),
    ],
)
def test_a_member_is_found_and_unescaped(tmp_path: Path, text: str, value: str) -> None:
    assert extracted("k", text, tmp_path) == (0, value)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "[]", '"k"', "{", '{"k"', '{"k":', '{"k":"v"', '{"k":"v",}', '{"k":"v"}}', '{"k":"v"} x', "{'k':'v'}",
        '{"k":"v" "b":1}', '{"k":"\\x"}', '{"k":"\\u12g4"}', '{"k":"\\u12', '{"k":"a\nb"}', '{"k":"a\tb"}', '{"k":01}',
        '{"k":1.}', '{"k":.5}', '{"k":+1}', '{"k":tru}', '{"k":"v","k":"w"}', '{"k":"v",,"b":1}', "{,}", '{"k":[1,]}',
        '{"k":"v\\"}', '{"a":' + "[" * 100 + "]" * 100 + ',"k":"v"}',
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    code, out = extracted("k", text, tmp_path)
    assert (code != 0, out) == (True, "")


@pytest.mark.parametrize("text", ["{}", '{"k": null}', '{"k": 1}', '{"k": ["v"]}', '{"K": "v"}', '{"k": true}'])
def test_a_missing_member_or_one_of_another_type_is_told_apart(tmp_path: Path, text: str) -> None:
    assert extracted("k", text, tmp_path) == (1, "")


@pytest.mark.parametrize("awk", AWKS)
def test_the_reader_agrees_with_pythons_on_random_objects(programs: Path, tmp_path: Path, awk: str) -> None:
    environment = with_awk({"PATH": ""}, programs, awk, tmp_path)
    program = environment["PATH"].rstrip(":") + "/awk"
    letters = string.printable + '\\"\u00e9\u20ac\U0001f600\x7f'
    chance = random.Random(8693)

    def text() -> str:
        return "".join(chance.choices(letters, k=chance.randrange(12)))

    def value(depth: int) -> object:
        kinds: list[Callable[[], object]] = [text, lambda: chance.randrange(10**9), chance.random, lambda: None]
        if depth < 4:
            kinds += [
                lambda: [value(depth + 1) for _ in range(3)],
                lambda: {text(): value(depth + 1) for _ in range(3)},
            ]
        return chance.choice(kinds)()

    for _ in range(15):
        wanted = text()
        given = {
            **{text() + "x": value(0) for _ in range(4)},
            "k": wanted,
            **{text() + "y": value(0) for _ in range(4)},
        }
        for ascii_only, indent in ((True, None), (False, 2)):
            written = json.dumps(given, ensure_ascii=ascii_only, indent=indent)
            assert extracted("k", written, tmp_path, awk=program) == (0, wanted), written


@pytest.mark.parametrize("arguments", [[], ["--help"], ["push"]])
def test_without_a_command_it_says_how_it_is_used(tmp_path: Path, arguments: list[str]) -> None:
    done = run(["sh", SCRIPT, *arguments], base_environment(tmp_path / "home"), tmp_path)
    assert done.returncode == 2
    assert 'eval "$(sh acr-token.sh login)"' in done.stdout
    assert "ACR_VENDING_URL" in done.stdout
    assert "set +x" not in done.stdout


def test_a_failed_login_fails_the_eval_too(tmp_path: Path) -> None:
    environment = base_environment(tmp_path / "home", ACR_VENDING_URL="https://")
    done = run(["sh", "-ec", f'eval "$(sh {SCRIPT} login)"; echo went on'], environment, tmp_path)
    assert done.returncode != 0
    assert "went on" not in done.stdout


def test_it_ignores_the_users_curlrc(tmp_path: Path) -> None:
    with vendor() as elsewhere, vendor() as service:
        environment = base_environment(
            tmp_path / "home", ACR_VENDING_URL=service.url, ACR_VENDING_ID_TOKEN=token_for(service.url)
        )
        (tmp_path / "home" / ".curlrc").write_text(f"proxy = {elsewhere.url}\nlocation\nverbose\n")
        assert run(["sh", SCRIPT, "token"], environment, tmp_path).returncode == 0
        assert elsewhere.seen == []


def test_interrupted_it_leaves_nothing_behind(tmp_path: Path) -> None:
    with vendor(refusal(503, "r", "Wait.", Retry_After="60")) as service:
        environment = base_environment(
            tmp_path / "home", ACR_VENDING_URL=service.url, ACR_VENDING_ID_TOKEN=token_for(service.url)
        )
        process = subprocess.Popen(
            ["sh", SCRIPT, "token"], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stderr is not None
        with process.stderr:
            assert "Trying again in 60 s" in process.stderr.readline()
            subprocess.run(["kill", "--", f"-{process.pid}"], check=True)
            assert process.wait(timeout=60) == 143
    assert list(Path(environment["TMPDIR"]).iterdir()) == []
