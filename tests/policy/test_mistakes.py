"""What people get wrong in a policy, and what they are told: what was written, what is said, where, and what helps.

Each row is one mistake. It is reported alone, at the text that begins with `at`, and the sentence holds what to write.
What a file may say and its author hardly means is the linter's, in `test_lint`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from vending.acr.scope import parse
from vending.errors import Reason, Refusal
from vending.policy import Environment, PolicyError, load_bytes
from vending.policy.language.problems import Code

HEAD = """\
version: 1
audience: https://vend.contoso.example
registries:
  prod: {login_server: contoso.azurecr.io}
issuers:
  github: {preset: github}
maps:
  images: {"1": web/api}
rules:
"""


@dataclass(frozen=True)
class Mistake:
    """`written` replaces a part of the policy or is added; `at` is the text at the reported place."""

    written: str
    at: str
    says: str
    code: Code = Code.VALUE

    def __str__(self) -> str:
        return self.written.strip()


def problems_of(text: str) -> list[tuple[str, str, str]]:
    """Return code, message and the text from the reported place on of each problem."""
    with pytest.raises(PolicyError) as caught:
        load_bytes(text.encode(), name="policy.yaml", environment=Environment(), directory=None)
    lines = text.split("\n")
    return [(each.code, each.message, lines[each.line - 1][each.column - 1 :]) for each in caught.value.problems]


def check(text: str, mistake: Mistake) -> None:
    [(code, message, at)] = problems_of(text)
    assert at.startswith(mistake.at), (at, message)
    assert mistake.says in message
    assert code == mistake.code
    assert message[0] != message[0].upper() or not message[0].isalpha() or message.startswith("U+"), message
    assert not message.endswith("."), message


# --- Repositories -----------------------------------------------------------------------------------------------------


def repository(written: str, says: str, code: Code = Code.REPOSITORY) -> Mistake:
    return Mistake(written, written, says, code)


REPOSITORIES = [
    repository("web/api:latest", "has a tag; rights are on whole repositories, so write 'web/api'"),
    repository("'web/**:v1'", "has a tag; rights are on whole repositories, so write 'web/**'"),
    repository("web/api@sha256:0123", "has a digest; rights are on whole repositories, so write 'web/api'"),
    repository("web/api:v1@sha256:0123", "has a digest; rights are on whole repositories, so write 'web/api'"),
    repository("Web/API", "has capital letters, and repository names have none; write 'web/api'"),
    repository("contoso.azurecr.io:443/web", "begins with a registry's host; write the repository alone: 'web'"),
    repository("Contoso.azurecr.io/web", "begins with a registry's host; write the repository alone: 'web'"),
    repository("contoso.azurecr.io/web:1", "begins with a registry's host; write the repository alone: 'web'"),
    repository("localhost:5000/web", "begins with a registry's host; write the repository alone: 'web'"),
    repository("https://contoso.azurecr.io/web", "is a URL; write the repository alone: 'web'"),
    repository("'${{ github.repository }}'", "has an expression that nobody fills in here"),
    repository("$CI_PROJECT_PATH", "has an expression that nobody fills in here"),
    repository("$(Build.Repository.Name)", "has an expression that nobody fills in here"),
    repository("'{{ .Values.image }}'", "has an expression that nobody fills in here"),
    repository("<team>/api", "has an expression that nobody fills in here"),
    repository("a___b", "has more than two underscores in a row"),
    repository("web/.api", "has the part '.api', which does not begin and end with a letter or digit"),
    repository("web/api-", "has the part 'api-', which does not begin and end with a letter or digit"),
    repository("web..api", "letters and digits are joined by one of . _ __ or by any number of -"),
    repository("a_-b", "letters and digits are joined by one of . _ __ or by any number of -"),
    repository("/web", "has an empty part"),
    repository("web/", "has an empty part"),
    repository("web//api", "has an empty part"),
    repository("web//*", "has an empty part"),
    repository("web api", "has a blank; remove it"),
    repository("wéb", "has the character 'é'"),
    repository("a" * 256, "has 256 characters, and a repository name at most 255"),
    repository("^web/.*$", "looks like a regular expression, and there are none"),
    repository("web/(api|ui)", "looks like a regular expression, and there are none"),
    repository("'web/[a-z]+'", "looks like a regular expression, and there are none"),
    repository("web/v?", "looks like a regular expression, and there are none"),
    repository("'***'", "*** is not a wildcard; write * within one component, or ** across", Code.PATTERN),
    repository("'{repository'", "has a brace that nothing closes or opens; write a template as in ci/{repository_id}"),
    repository("'ci/x-{repository_id}'", "{…} must stand alone between slashes"),
    repository("'{repository_id|nothing}'", "names the map 'nothing', which the policy does not have"),
    repository("'Ci/{repository_id}'", "has capital letters"),
]


def with_repository(written: str) -> str:
    return HEAD + (
        "  - name: web\n    issuer: github\n    when: {repository_id: '1'}\n    grant:\n      - registry: prod\n"
        f"        repositories:\n          - {written}\n        actions: [pull]\n"
    )


@pytest.mark.parametrize("mistake", REPOSITORIES, ids=str)
def test_repository(mistake: Mistake) -> None:
    check(with_repository(mistake.written), mistake)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("'ci/{repository_id}'", "is a template, and only a rule's grant has templates"),
        ("web/api:latest", "has a tag; rights are on whole repositories, so write 'web/api'"),
        ("Web", "has capital letters, and repository names have none; write 'web'"),
    ],
)
def test_repository_of_a_deny_entry(written: str, says: str) -> None:
    text = HEAD[: -len("rules:\n")] + f"deny:\n  - {{name: d, actions: [push], repositories: [{written}]}}\n"
    check(text, Mistake(written, written, says, Code.REPOSITORY))


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("web/api:latest", "has a tag; rights are on whole repositories, so write 'web/api'"),
        ("Web", "has capital letters, and repository names have none; write 'web'"),
        ("contoso.azurecr.io:443/web", "begins with a registry's host; write the repository alone: 'web'"),
    ],
)
def test_repository_in_a_map(written: str, says: str) -> None:
    check(PLAIN.replace("web/api", written), Mistake(written, written, says, Code.REPOSITORY))


# --- Rules ------------------------------------------------------------------------------------------------------------

RULE = """\
  - name: web
    issuer: github
    when:
      repository_id: "1"
      ref: refs/heads/main
    grant:
      - registry: prod
        repositories: [web/api]
        actions: [pull]
"""


def rule(old: str, new: str, at: str, says: str, code: Code = Code.VALUE) -> tuple[str, Mistake]:
    return old, Mistake(new, at, says, code)


ACTIONS = [
    ("content/read", "is called pull here; write pull"),
    ("content/write", "is called push here; write push"),
    ("content/delete", "is called delete here; write delete"),
    ("metadata/read", "is called metadata_read here; write metadata_read"),
    ("metadata-write", "is called metadata_write here; write metadata_write"),
    ("AcrPull", "is called pull here; write pull"),
    ("Microsoft.ContainerRegistry/registries/repositories/content/read", "is called pull here; write pull"),
    ("Pull", "is called pull here; write pull"),
    ("read", "is called pull here; write pull"),
    ("'*'", "an action is written out, never as '*'"),
    ("'pull,push'", "is several actions in one text; write a list, as in [pull, push]"),
    ("pul", "unknown action 'pul'; expected one of pull, push, delete, metadata_read, metadata_write"),
]
CONDITIONS = '      repository_id: "1"\n      ref: refs/heads/main\n'
RULES = [
    *(rule("[pull]", f"[{written}]", written, says) for written, says in ACTIONS),
    rule("[pull]", "pull", "pull", "write a list: [pull]"),
    rule("[web/api]", "web/api", "web/api", "write a list: [web/api]"),
    # indentation
    rule("    grant:", "      grant:", "grant:", "grant is inside when, where it names a claim; indent it like when"),
    rule("    grant:\n", "      unless: {actor: '*[bot]'}\n    grant:\n", "unless", "unless is inside when"),
    rule("    grant:\n", "      when_any:\n        - {ref: x}\n    grant:\n", "when_any", "when_any is inside when"),
    rule("    grant:\n", "      enabled: false\n    grant:\n", "enabled", "enabled is inside when", Code.CLAIM_TYPE),
    rule("    grant:\n", "      expires: 2027-01-01\n    grant:\n", "expires", "expires is inside when"),
    rule("    grant:\n", "      expires: 2027-01-01T00:00Z\n    grant:\n", "expires", "indent it like when"),
    rule("    grant:\n", "      not_before: 2027-01-01\n    grant:\n", "not_before", "not_before is inside when"),
    rule("    grant:\n", "      accept: {a: b}\n    grant:\n", "accept", "accept is inside when"),
    rule("    grant:\n", "      catalog: true\n    grant:\n", "catalog", "belongs in an entry of gr", Code.CLAIM_TYPE),
    rule(
        "    issuer: github\n    when:\n", "    when:\n      issuer: github\n", "name:",
        "issuer is missing here; it is inside when, so indent it like when", Code.MISSING_KEY,
    ),
    rule("    grant:", "    ref: main\n    grant:", "ref", "a claim belongs inside when or unless", Code.UNKNOWN_KEY),
    rule("    grant:", "    actions: [pull]\n    grant:", "act", "it belongs in an entry of grant", Code.UNKNOWN_KEY),
    rule("        actions", "        unless: {}\n        actions", "unless", "indent it like grant", Code.UNKNOWN_KEY),
    rule("        actions", "        enabled: true\n        actions", "ena", "indent it like grant", Code.UNKNOWN_KEY),
    rule(CONDITIONS, "      - {repository_id: '1'}\n      - {ref: x}\n", "- {repository_id", "begin without a dash"),
    rule("      - registry", "        registry", "registry", "grant is a list; begin each of its entries with a dash"),
    rule("      ref:", "     ref:", "ref:", "the indentation of this line fits no line above it", Code.SYNTAX),
    rule("      ref:", "\tref:", "\tref", "this line is indented with a tab; write spaces", Code.SYNTAX),
    rule("refs/heads/main", "refs/heads/main: x", ": x", "this line has a second colon; put quotes", Code.SYNTAX),
    rule("refs/heads/main\n", "refs/heads/main\n        x: y\n", ": y", "a key is indented below", Code.SYNTAX),
    # values of conditions
    rule('"1"', "1", "1", "repository_id is text in tokens of github, and this is not; put quotes", Code.CLAIM_TYPE),
    rule("refs/heads/main", "2027-01-01", "2027-01-01", "put quotes around a value that is meant as text"),
    rule("refs/heads/main", "1.5", "1.5", "or put quotes around text", Code.AMBIGUOUS_SCALAR),
    rule("refs/heads/main", "0123", "0123", "or put quotes around text", Code.AMBIGUOUS_SCALAR),
    rule("refs/heads/main", "0x1F", "0x1F", "or put quotes around text", Code.AMBIGUOUS_SCALAR),
    rule("refs/heads/main", "12:30", "12:30", "or put quotes around text", Code.AMBIGUOUS_SCALAR),
    rule("refs/heads/main", "2027-01-01 10:00", "2027-01-01", "or put quotes around text", Code.AMBIGUOUS_SCALAR),
    rule("refs/heads/main", "", "ref:", "the value is missing; write one, or remove the key", Code.EMPTY),
    rule("refs/heads/main", "[]", "ref:", "must not be empty", Code.EMPTY),
    rule("refs/heads/main", "{main: true}", "{main", "write a value, a list of values, {in: <list>}"),
    rule("refs/heads/main", "{absent: false}", "false", "write absent: true"),
    rule("refs/heads/main", "'***'", "'***'", "***", Code.PATTERN),
    rule("refs/heads/main", "**", "**", "without quotes is an alias; put quotes around a pattern", Code.YAML_FEATURE),
    rule("refs/heads/main", "*/main", "*/main", "without quotes is an alias; put quotes", Code.YAML_FEATURE),
    rule("refs/heads/main", "[refs/heads/main, **]", "**", "without quotes is an alias; put quotes", Code.YAML_FEATURE),
    rule("refs/heads/main", "!main", "!main", "! begins a tag; remove it, or put quotes", Code.YAML_FEATURE),
    rule("refs/heads/main", "@main", "@main", "a value cannot begin with @ unless it is in quotes", Code.SYNTAX),
    rule("refs/heads/main", "'main", "", "is not closed", Code.SYNTAX),
    rule("refs/heads/main", '"a\\d"', '', "is not an escape of double quotes", Code.SYNTAX),
    rule("      ref:", "      repository_id:", "repository_id", "duplicate key 'repository_id'", Code.DUPLICATE_KEY),
    # templates without quotes
    rule("[web/api]", "[ci/{repository_id}]", "{", "put quotes around a template: 'ci/{repository_id}'", Code.SYNTAX),
    rule("[web/api]", "[{repository_id}/x]", "/x", "put quotes around a template: '{repository_id}/x'", Code.SYNTAX),
    rule("[web/api]", "[{repository_id}]", "repository_id", "quotes around a template: '{repository_id}'", Code.EMPTY),
    rule("[web/api]", "[${{ github.repository }}]", "{", "put quotes around a template", Code.SYNTAX),
    rule("[web/api]", "[web/api", "", "is not closed", Code.SYNTAX),
    # references
    rule("issuer: github", "issuer: githb", "githb", "unknown issuer 'githb'; expected one of github", Code.REFERENCE),
    rule("issuer: github", "issuer: https://gitlab.com", "https", "write the issuer's name in this policy"),
    rule("registry: prod", "registry: dev", "dev", "unknown registry 'dev'; expected one of prod", Code.REFERENCE),
    rule("registry: prod", "registry: contoso.azurecr.io", "contoso", "write the registry's name in this policy"),
    # keys
    rule("actions:", "action:", "action", "unknown key 'action'; did you mean actions?", Code.UNKNOWN_KEY),
    rule("    when:", "    if:", "if", "unknown key 'if'", Code.UNKNOWN_KEY),
    rule("    grant:", "    grants:", "grants", "unknown key 'grants'; did you mean grant?", Code.UNKNOWN_KEY),
    # dates
    rule("    grant:", "    expires: 2026-13-31\n    grant:", "2026-13-31", "there is no month 13", Code.DATE),
    rule("    grant:", "    expires: 2027-02-29\n    grant:", "2027-02-29", "that month has 28 days", Code.DATE),
    rule("    grant:", "    expires: 2027-01-01T25:00Z\n    grant:", "2027", "hours go from 00 to 23", Code.DATE),
    rule("    grant:", "    expires: '2026-13-31'\n    grant:", "'2026", "there is no month 13", Code.DATE),
    rule("    grant:", "    not_before: '2027-02-29'\n    grant:", "'2027", "that month has 28 days", Code.DATE),
    rule("    grant:", "    expires: 31.12.2027\n    grant:", "31.12.2027", "write a day as YYYY-MM-DD"),
    rule("    grant:", "    expires: 2027-06-30T10:00\n    grant:", "2027", "a UTC time to", Code.AMBIGUOUS_SCALAR),
    rule("    grant:", "    expires: '2027-06-30T10:00'\n    grant:", "'2027", "a time in UTC to the minute"),
    rule("    grant:", "    expires: 2027-06-30T10:00:00+02:00\n    grant:", "2027", "UTC time", Code.AMBIGUOUS_SCALAR),
    # switches
    rule("    grant:", "    enabled: yes\n    grant:", "yes", "yes is text in YAML 1.2; write true or false"),
    rule("    grant:", "    mode: dry-run\n    grant:", "dry-run", "did you mean audit?"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "mistake"), RULES, ids=str)
def test_rule(old: str, mistake: Mistake) -> None:
    assert RULE.count(old) == 1, old
    found = problems_of(HEAD + RULE.replace(old, mistake.written))
    assert (mistake.code, True, True) in [
        (code, mistake.says in message, at.startswith(mistake.at)) for code, message, at in found
    ], found


# --- The policy's head ------------------------------------------------------------------------------------------------

PLAIN = HEAD + "  []\n"
SERVER = "contoso.azurecr.io"
HEADS = [
    rule(SERVER, "https://contoso.azurecr.io", "https", "without https:// and path: contoso.azurecr.io"),
    rule(SERVER, "contoso.azurecr.io/", "contoso", "without https:// and path: contoso.azurecr.io"),
    rule(SERVER, "contoso.azurecr.io/web", "contoso", "without https:// and path: contoso.azurecr.io"),
    rule(SERVER, "Contoso.azurecr.io", "Contoso", "write a host in lower case, without https:// and path: contoso"),
    rule(SERVER, "contoso", "contoso", "is not a login server; write contoso.azurecr.io", Code.REGISTRY_HOST),
    rule(SERVER, "contoso.azurecr.us", "contoso", "of the cloud usgovernment; write cloud: usgov", Code.REGISTRY_HOST),
    rule(SERVER, "contoso.azurecr.cn", "contoso", "of the cloud china; write cloud: china", Code.REGISTRY_HOST),
    rule(SERVER, "registry.contoso.com", "registry", "write <name>.azurecr.io: a custom domain", Code.REGISTRY_HOST),
    rule(SERVER, "contoso.eastus.geo.azurecr.io", "contoso", "write it under hosts", Code.REGISTRY_HOST),
    rule(SERVER, "contoso.azurecr.io, cloud: AzureUSGovernment", "AzureUS", "did you mean usgovernment?"),
    rule(SERVER, "contoso.azurecr.io, cloud: usgovernment", "contoso", "of the cloud public", Code.REGISTRY_HOST),
    rule(SERVER, "contoso.azurecr.io, hosts: registry.contoso.com", "registry", "write a list: [registry.contoso.com]"),
    rule(SERVER, f"{SERVER}, token_audience: https://contoso.azurecr.io", "https", "leave token_audience out"),
    rule(
        SERVER, f"{SERVER}, token_audience: https://containerregistry.azure.net/.default", "https",
        "write https://containerregistry.azure.net",
    ),
    rule(SERVER, f"{SERVER}, token_audience: containerregistry.azure.net", "containerregistry", "write an https URL"),
    rule(SERVER, f"{SERVER}, identity: app", "app", "unknown identity 'app'; expected one of default", Code.REFERENCE),
    rule("prod:", "Prod:", "Prod", "a registry's name is 1 to 64 of a-z 0-9 -"),
    rule("preset: github", "preset: github-actions", "github-actions", "did you mean github?"),
    rule("preset: github", "preset: azure-pipelines", "azure", "did you mean azure-devops?"),
    rule("preset: github", "preset: gitlab-ci, issuer: https://gitlab.com", "gitlab-ci", "did you mean gitlab?"),
    rule("preset: github", "preset: eks, issuer: https://oidc.example", "eks", "did you mean kubernetes?"),
    rule("preset: github", "preset: kubernetes", "github:", "issuer is missing; write", Code.MISSING_KEY),
    rule("preset: github", "preset: generic, issuer: oidc.example", "oidc", "write an https URL"),
    rule("preset: github", "preset: github, max_token_lifetime: 15 minutes", "15 min", "write a number and a unit"),
    rule("preset: github", "preset: github, max_token_lifetime: 900", "900", "write a number and a unit"),
    rule("preset: github", "preset: github, algorithms: RS256", "RS256", "write a list: [RS256]"),
    rule("preset: github", "preset: github, algorithms: [HS256]", "HS256", "expected one of RS256"),
    rule("version: 1", 'version: "1"', '"1"', "write 1, the version of this language"),
    rule("version: 1", "version: 2", "2", "write 1, the version of this language"),
    rule("https://vend.contoso.example", "vend.contoso.example", "vend", "write an https URL"),
    rule("https://vend.contoso.example", "api://AzureADTokenExchange", "api", "write an https URL"),
    rule("https://vend.contoso.example", "https://github.com/a", "https", "other services accept too", Code.AUDIENCE),
    rule("rules:\n", "tests: []\nrules:\n", "tests", "tests are a file of their own", Code.UNKNOWN_KEY),
    rule("rules:\n", "rule: []\nrules:\n", "rule", "unknown key 'rule'; did you mean rules?", Code.UNKNOWN_KEY),
    rule("  []\n", "  web: {issuer: github}\n", "web", "rules is a list; begin each of its entries with a dash"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "mistake"), HEADS, ids=str)
def test_head(old: str, mistake: Mistake) -> None:
    assert old in PLAIN, old
    check(PLAIN.replace(old, mistake.written, 1), mistake)


# --- Scopes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("repository:web/api:latest:pull", "has a tag; rights are on whole repositories, so write 'web/api'"),
        ("repository:web/api@sha256:01:pull", "has a digest; rights are on whole repositories, so write 'web/api'"),
        ("repository:Web/API:pull", "has capital letters, and repository names have none; write 'web/api'"),
        ("repository:contoso.azurecr.io:443/web:pull", "begins with a registry's host; write the repository alone"),
        ("repository:https://contoso.azurecr.io/web:pull", "is a URL; write the repository alone: 'web'"),
        ("repository:${IMAGE}:pull", "has an expression that nobody fills in here"),
        ("repository:$(IMAGE):pull", "has an expression that nobody fills in here"),
        ("repository:a___b:pull", "has more than two underscores in a row"),
        (f"repository:{'a' * 256}:pull", "has 256 characters, and a repository name at most 255"),
        (f"repository:{'<' * 60_000}:pull", "has 60000 characters, and a repository name at most 255"),
        ("repository:web//api:pull", "has an empty part"),
        ("repository:web/api:content/read", "'content/read' is called pull here; write pull"),
        ("repository:web/api:Pull", "'Pull' is called pull here; write pull"),
        ("repository:web/api:pull,", "an action is missing beside a comma; write it, or remove the comma"),
        ("repository:web/api", "has no name or no actions; write repository:<name>:<action>"),
        ("web/api", "lacks its type; write repository:<name>:<action>[,<action>], as in 'repository:web/api:pull'"),
        ("repo:web/api:pull", "is neither repository:<name>:<action>[,<action>] nor registry:catalog:*"),
        ("registry:catalog:list", "is neither repository:<name>:<action>[,<action>] nor registry:catalog:*"),
        ("repository:a:pull  repository:b:pull", "has an empty scope; write one blank between two scopes"),
        ("repository:a:pull,repository:b:pull", "is several scopes; write one blank between two scopes"),
        ("repository:a:pull;repository:b:pull", "is several scopes; write one blank between two scopes"),
        ("web/api:pull", "lacks its type; write repository:<name>:<action>[,<action>], as in 'repository:web/api:pull"),
        ("contoso.azurecr.io/web/api:pull,push", "as in 'repository:web/api:pull,push'"),
        ("contoso.azurecr.io/web/api:1.2", "as in 'repository:web/api:pull'"),
        ("https://contoso.azurecr.io/web/api", "as in 'repository:web/api:pull'"),
        ("pull", "is neither repository:<name>:<action>[,<action>] nor registry:catalog:*"),
        ("repository:a:pull\nrepository:b:pull", "has a blank"),
    ],
)  # fmt: skip
def test_scope(written: str, says: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse(written)
    assert caught.value.reason is Reason.MALFORMED_SCOPE
    assert says in caught.value.description
    assert len(caught.value.description) < 600
