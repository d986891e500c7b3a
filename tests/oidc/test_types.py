"""The degrees of trust are types: the type checker refuses a program that decides on claims nobody verified."""

from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).resolve().parent.parent.parent

PREAMBLE = """\
from vending.acr.scope import Scope
from vending.oidc.token import peek
from vending.oidc.types import Issuer, PeekedToken, RawToken, VerifiedClaims
from vending.oidc.verify import Verifier
from vending.policy import Policy, decide

async def story(policy: Policy, verifier: Verifier, issuer: Issuer, text: str, scopes: tuple[Scope, ...]) -> None:
    raw = RawToken(text)
    peeked = peek(raw)
    verified = await verifier.verify(peeked, issuer)
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Check every program in one run of mypy; return what it says about each."""
    folder = tmp_path_factory.mktemp("programs")
    for name, line in PROGRAMS.items():
        (folder / f"{name}.py").write_text(f"{PREAMBLE}    {line}\n")
    output, errors, _ = api.run(["--config-file", str(ROOT / "pyproject.toml"), *map(str, folder.glob("*.py"))])
    assert not errors
    lines = [line for line in output.splitlines() if ": error: " in line]
    return {name: "\n".join(line for line in lines if f"/{name}.py:" in line) for name in PROGRAMS}


PROGRAMS = {
    "verified_claims": 'decide(policy, verified, "prod", scopes, 0.0)',
    "peeked_token": 'decide(policy, peeked, "prod", scopes, 0.0)',
    "unverified_claims": 'decide(policy, peeked.unverified_claims, "prod", scopes, 0.0)',
    "raw_token": 'decide(policy, raw, "prod", scopes, 0.0)',
    "plain_dict": 'decide(policy, {"sub": "me"}, "prod", scopes, 0.0)',
    "verify_without_peeking": "await verifier.verify(raw, issuer)",
    "peek_at_any_text": "peek(text)",
    "change_a_verified_claim": 'verified.claims["sub"] = "another"',
    "replace_verified_claims": "verified.claims = {}",
}


def test_verified_claims_reach_the_decision(verdicts: dict[str, str]) -> None:
    assert verdicts["verified_claims"] == ""


@pytest.mark.parametrize("program", [name for name in PROGRAMS if name != "verified_claims"])
def test_type_checker_refuses_what_nobody_verified(program: str, verdicts: dict[str, str]) -> None:
    assert verdicts[program] != ""
