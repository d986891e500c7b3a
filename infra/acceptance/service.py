"""Ask the deployed service for everything that it promises, as a job of this repository."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import time
import urllib.parse
from typing import Any

from deployments import Deployed, deployer
from faults import (
    EVENTS,
    EVENTS_NOT_PROVOKED,
    Answer,
    OwnIssuer,
    faults,
    with_arm_tokens,
    with_faults,
    with_little_patience,
)
from world import ROOT, Failed, World, claims_of, exchange

AUDIENCE = "https://accept.vending.example"
OTHER_AUDIENCE = "https://elsewhere.example"
SCOPE = "repository:accept/image:pull,push"
MOST_SCOPES = 32  # the default of limits.max_scopes

# Reasons that this run cannot bring about, with the obstacle.
NOT_PROVOKED = {
    "deadline_exceeded": "an upstream would have to hang",
    "internal_error": "it would be a bug",
    "misconfigured": "the app would have to be deployed with a wrong setting",
    "policy_unavailable": "the first policy is delivered before anything is asked",
    "registry_grant_wider": "it would take ACR to grant more than was asked for",
    "registry_response_invalid": "ACR would have to fail",
    "registry_throttled": "it would take a flood",
    "replay_store_unavailable": "storage would have to fail",
    "trigger_refused": "this workflow is started by hand",
}


def policy(world: World, registry_host: str, caller: dict[str, Any], *, enabled: bool = True) -> dict[str, Any]:
    """Give the policy of the run: this repository may push below accept/, and below outside/ where Azure says no."""
    return {
        "version": 1,
        "audience": AUDIENCE,
        "registries": {"prod": {"login_server": registry_host}},
        "issuers": {"github": {"preset": "github", "issuer": world.issuer, "enabled": enabled, "replay": "once"}},
        "rules": [
            {
                "name": "acceptance",
                "issuer": "github",
                "when": {
                    "repository_id": str(caller["repository_id"]),
                    "repository_owner_id": str(caller["repository_owner_id"]),
                },
                "grant": [
                    {"registry": "prod", "repositories": ["accept/*"], "actions": ["pull", "push"]},
                    {"registry": "prod", "repositories": ["outside/image"], "actions": ["pull", "push"]},
                ],
            }
        ],
        "deny": [
            {
                "name": "never-deleted",
                "registry": "prod",
                "repositories": ["accept/denied"],
                "actions": ["pull", "push"],
            }
        ],
    }


class Service:
    """The deployed service, and the registry beside it."""

    def __init__(self, world: World, where: Deployed) -> None:
        self.world, self.where = world, where
        self.url = world.url_override or where.url
        self.host = world.registry_override or f"{where.registry}.azurecr.io"
        self.caller = claims_of(world.id_token(AUDIENCE))
        self.request_ids: dict[str, str] = {}

    def policy(self, *, enabled: bool = True) -> dict[str, Any]:
        return policy(self.world, self.host, self.caller, enabled=enabled)

    def put_in_force(self, document: dict[str, Any]) -> None:
        """Upload a policy, and wait until the service goes by it."""
        text = json.dumps(document, indent=1)
        self.upload(text)
        self.world.until(lambda: self.in_force(text), "in force", seconds=self.world.pull_policy_seconds)

    def upload(self, text: str) -> None:
        """Put a policy where the service reads it."""
        path = self.world.work / "policy.yaml"
        path.write_text(text)
        blob = f"{self.where.container}/policy.yaml"
        self.world.run(
            "az", "storage", "blob", "upload", "--auth-mode", "login", "--blob-url", blob, "--file", path, "--overwrite"
        )

    def in_force(self, text: str) -> dict[str, Any] | None:
        """Give /readyz once the policy of this text is in force."""
        status, ready = self.world.ask(f"{self.url}/readyz")
        wanted = hashlib.sha256(text.encode()).hexdigest()
        return ready if status == 200 and ready.get("sha256") == wanted else None

    def vend(self, scope: str = SCOPE, **more: str) -> tuple[int, dict[str, Any]]:
        return self.world.ask(f"{self.url}/token", exchange(self.world.id_token(AUDIENCE), scope, **more))

    def check_delivery(self, *, packed: bool) -> None:
        """Deliver the code, where `packed` first with its dependencies: before that, nothing answers /readyz."""
        world, text = self.world, json.dumps(self.policy(), indent=1)
        if packed:
            with world.claim("a package that carries its dependencies runs without the remote build"):
                self.world.until(lambda: self.attempt_upload(text), "the right to write the policy")
                self.deliver("--with-dependencies")
        with world.claim("the policy can be uploaded by whom the parameters name, and the code is delivered") as seen:
            self.world.until(lambda: self.attempt_upload(text), "the right to write the policy")
            self.deliver()
            ready = world.until(lambda: self.in_force(text), "the policy in force")
            seen.append(
                f"version {ready['version']}, policy {ready['sha256'][:12]}, replay store {ready['replay_store']}"
            )

    def deliver(self, *options: str) -> None:
        """Build the package and deliver it, until the app says that it runs. Raises `Failed`."""
        world = self.world
        deliver = [sys.executable, ROOT / "infra" / "deliver.py", "--resource-group", self.where.group]
        deliver += ["--url", self.url, "--pause", str(world.pause)]
        deliver += ["--scm", world.scm_override] if world.scm_override else []
        world.run(*deliver, "--name", self.where.app, "--package", world.work / "app.zip", *options)

    def attempt_upload(self, text: str) -> bool:
        try:
            self.upload(text)
        except Failed:
            return False
        return True

    def check_vending(self) -> dict[str, Any]:
        world = self.world
        answer: dict[str, Any] = {}
        with world.claim(
            "a job's own token is exchanged for a registry token with exactly the scope asked for"
        ) as seen:
            status, answer = world.until(self.vended, "a vended token")
            if answer["scope"] != SCOPE:
                raise Failed(f"{status} {answer['scope']}")
            self.request_ids["allow"] = answer["request_id"]
            seen.append(f"expires in {answer['expires_in']} s, hosts {', '.join(answer['hosts'])}")
        with world.claim("docker logs in, pushes a first image to a name that did not exist, and pulls it again"):
            image = f"{self.host}/accept/image:{world.prefix}"
            self.login(answer)
            world.run("docker", "import", "-", image, given="")
            world.run("docker", "push", image)
            world.run("docker", "rmi", image)
            world.run("docker", "pull", image)
        with world.claim("an access token cannot be traded for one with more actions: a pull-only token does not push"):
            status, narrow = self.vend("repository:accept/image:pull")
            self.login(narrow)
            world.run("docker", "push", image, fails=True)
        return answer

    def vended(self) -> tuple[int, dict[str, Any]] | None:
        found = self.vend()
        return found if found[0] == 200 else None

    def login(self, answer: dict[str, Any]) -> None:
        command = ["docker", "login", self.host, "--username", answer["username"], "--password-stdin"]
        self.world.run(*command, given=answer["access_token"])

    def check_bound(self) -> None:
        with self.world.claim(
            "the identity is bounded by its ABAC condition: a repository outside it is refused"
        ) as seen:
            status, answer = self.vend("repository:outside/image:pull")
            seen.append(f"{status} {answer.get('reason')}")
            if answer.get("reason") != "registry_grant_narrower":
                raise Failed(str(answer))
            self.request_ids["error"] = answer["request_id"]

    def refusals(self) -> list[tuple[str, int, tuple[int, dict[str, Any]]]]:
        """Bring about every refusal that a caller can bring about: reason, status, what came."""
        ask, token, url = self.world.ask, self.world.id_token(AUDIENCE), f"{self.url}/token"
        head, body, signature = token.split(".")
        wrong = f"{head}.{body}.{signature[:-8]}{'A' * 8}"
        elsewhere = self.world.id_token(OTHER_AUDIENCE)
        stranger = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL25vYm9keS5leGFtcGxlIn0.c2ln"
        many = " ".join(f"repository:accept/{n}:pull" for n in range(40))
        form = exchange(token, SCOPE)
        json_body = {"Content-Type": "application/json"}
        urlencoded = {"Content-Type": "application/x-www-form-urlencoded"}
        twice = urllib.parse.urlencode(
            [*form.items(), ("audience", self.host), ("audience", "nobody.azurecr.io")]
        ).encode()
        used = self.world.id_token(AUDIENCE)
        ask(url, exchange(used, SCOPE))
        return [
            ("malformed_request", 400, ask(f"{url}?x=1", form)),
            ("missing_parameter", 400, ask(url, {"subject_token": token, "scope": SCOPE})),
            ("duplicate_parameter", 400, ask(url, b"scope=a&scope=b", headers=urlencoded)),
            ("unsupported_token_type", 400, ask(url, exchange(token, SCOPE, subject_token_type="urn:x"))),
            ("body_too_large", 413, ask(url, b"a=" + b"b" * 70_000, headers=urlencoded)),
            ("unsupported_media_type", 415, ask(url, b"{}", headers=json_body)),
            ("method_not_allowed", 405, ask(url, method="GET")),
            ("not_found", 404, ask(f"{self.url}/nothing")),
            ("unsupported_grant_type", 400, ask(url, {**form, "grant_type": "password"})),
            ("token_malformed", 400, ask(url, exchange("no-token", SCOPE))),
            ("issuer_unknown", 400, ask(url, exchange(stranger, SCOPE))),
            ("signature_invalid", 400, ask(url, exchange(wrong, SCOPE))),
            ("audience_mismatch", 400, ask(url, exchange(elsewhere, SCOPE))),
            ("token_replayed", 400, ask(url, exchange(used, SCOPE))),
            ("malformed_scope", 400, ask(url, exchange(token, "accept/image"))),
            ("wildcard_scope", 400, ask(url, exchange(token, "repository:*:pull"))),
            ("too_many_scopes", 400, ask(url, exchange(token, many))),
            ("scope_not_granted", 400, ask(url, exchange(token, "repository:other/image:pull"))),
            ("denied_by_rule", 400, ask(url, exchange(token, "repository:accept/denied:pull"))),
            ("unknown_registry", 400, ask(url, exchange(token, SCOPE, audience="nobody.azurecr.io"))),
            ("conflicting_tokens", 400, ask(url, form, headers={"Authorization": f"Bearer {elsewhere}"})),
            ("token_too_large", 400, ask(url, exchange(token + "A" * 20_000, SCOPE))),
            ("multiple_registries", 400, ask(url, twice, headers=urlencoded)),
        ]

    def check_refusals(self) -> None:
        for reason, status, (found, answer) in self.refusals():
            with self.world.claim(f"refused as documented: {status} `{reason}`") as seen:
                seen.append(f"{found} {answer.get('reason')}")
                if (found, answer.get("reason")) != (status, reason):
                    raise Failed(str(answer)[:200])
                self.request_ids.setdefault("deny", answer["request_id"]) if reason == "scope_not_granted" else None
        for reason, why in NOT_PROVOKED.items():
            self.world.not_checked(f"refused as documented: `{reason}`", why)

    def check_faults(self) -> None:
        """Hold what is answered when something upstream is wrong, by policies that make it so."""
        world, own = self.world, OwnIssuer()
        nowhere = world.nowhere_override or f"{world.prefix}nowhere.azurecr.io"

        def vend(token: str, scope: str | None, **more: str) -> Answer:
            return world.ask(f"{self.url}/token", exchange(token, scope, **more))

        def held(found: list[tuple[set[str], Answer]]) -> None:
            for reasons, (status, answer) in found:
                with world.claim(f"refused as documented: `{'` or `'.join(sorted(reasons))}`") as seen:
                    seen.append(f"{status} {answer.get('reason')}")
                    if answer.get("reason") not in reasons:
                        raise Failed(str(answer)[:200])

        with world.claim("a policy with what is not there is taken, and its other entries work"):
            self.put_in_force(with_faults(self.policy(), own, nowhere))
            held(faults(vend, own, AUDIENCE, world.issuer))
        with world.claim("a policy with a low rate limit is taken"):
            self.put_in_force(with_little_patience(self.policy(), own, nowhere))
            many = [vend(own.token(AUDIENCE), SCOPE, audience="prod") for _ in range(5)]
            held([({"rate_limited"}, many[-1])])
        with world.claim("a policy that asks for tokens of Azure Resource Manager is taken"):
            self.put_in_force(with_arm_tokens(self.policy()))
            held([({"registry_refused"}, self.vend())])
        with world.claim("the policy of the run is put back"):
            self.put_in_force(self.policy())

    def check_registry(self) -> None:
        """Hold what docs/acr.md assumes of the registry, as far as a client can ask it."""
        world = self.world
        with world.claim("a token that a client gets by trading a vended one lives no longer than that one") as seen:
            answer = world.until(self.vended, "a vended token")[1]
            basic = base64.b64encode(f"{answer['username']}:{answer['access_token']}".encode()).decode()
            query = urllib.parse.urlencode({"service": self.host, "scope": "repository:accept/image:pull"})
            url = f"{world.registry_url or f'https://{self.host}'}/oauth2/token?{query}"
            status, traded = world.ask(url, headers={"Authorization": f"Basic {basic}"})
            if "access_token" not in traded:
                raise Failed(f"{status} {traded}")
            lives = [claims_of(text)["exp"] for text in (traded["access_token"], answer["access_token"])]
            seen.append(f"{lives[0] - lives[1]} s longer")
            if lives[0] > lives[1] + 1:
                raise Failed("longer")
        with world.claim("as many scopes as one request may have are granted") as seen:
            scope = " ".join(f"repository:accept/{number:02}:pull" for number in range(MOST_SCOPES))
            status, answer = self.vend(scope)
            seen.append(f"{status}, {len(answer.get('scope', '').split())} scopes")
            if answer.get("scope") != scope:
                raise Failed(str(answer)[:200])
        with world.claim("the registry publishes no keys for its tokens") as seen:
            places = ("/.well-known/openid-configuration", "/.well-known/jwks.json", "/oauth2/keys")
            found = [world.ask(f"{world.registry_url or f'https://{self.host}'}{place}")[0] for place in places]
            seen.append(", ".join(map(str, found)))
            if 200 in found:
                raise Failed("something is there")

    def check_kill_switch(self) -> None:
        world, off = self.world, json.dumps(self.policy(enabled=False), indent=1)
        with world.claim("kill switch: an issuer that is turned off in the policy is refused within a minute") as seen:
            began = time.monotonic()
            self.upload(off)
            world.until(
                lambda: self.vend()[1].get("reason") == "issuer_disabled", "refused", seconds=world.pull_policy_seconds
            )
            seen.append(f"after {time.monotonic() - began:.0f} s")
            if time.monotonic() - began > 60:
                raise Failed("later than a minute")
        with world.claim("a policy that does not load is reported, and the last good one stays in force") as seen:
            self.upload("version: 1\nrules: [")
            world.until(
                lambda: world.ask(f"{self.url}/readyz")[1].get("reload_failure") == "invalid",
                "reported",
                seconds=world.pull_policy_seconds,
            )
            seen.append(str(self.vend()[1].get("reason")))
        with world.claim("the issuer is turned on again in the same way"):
            self.put_in_force(self.policy())

    def check_cold_start(self) -> None:
        with self.world.claim(
            "cold start: the time from a restart to the first answer, and to the first token"
        ) as seen:
            self.world.run(
                "az", "functionapp", "restart", "--resource-group", self.where.group, "--name", self.where.app
            )
            began = time.monotonic()
            self.world.until(
                lambda: self.world.ask(f"{self.url}/healthz")[0] == 200, "alive", seconds=20 * self.world.pause
            )
            alive = time.monotonic() - began
            self.world.until(self.vended, "vending", seconds=20 * self.world.pause)
            seen.append(f"first answer after {alive:.1f} s, first token after {time.monotonic() - began:.1f} s")

    def check_doctor(self) -> None:
        """Run the doctor as whoever runs this, who is given the right to pull and no other."""
        with self.world.claim(
            "the doctor reads policy, issuers and registry, and names what the identity lacks"
        ) as seen:
            subscription = self.world.az("account", "show")["id"]
            group = f"/subscriptions/{subscription}/resourceGroups/{self.where.group}"
            scope = f"{group}/providers/Microsoft.ContainerRegistry/registries/{self.where.registry}"
            whom = ["--assignee-object-id", deployer(self.world), "--assignee-principal-type", "ServicePrincipal"]
            role = ["--role", "Container Registry Repository Reader"]
            self.world.az("role", "assignment", "create", *role, *whom, "--scope", scope)
            said = self.world.until(self.examined, "the right to pull")
            for text in (
                "ok      policy",
                "ok      issuer github",
                "ok      identity default: developer",
                "the identity lacks repository:outside/image",
                'az role assignment create --role "Container Registry Repository Writer"',
            ):
                if text not in said:
                    raise Failed(f"no `{text}` in: {said[-600:]}")
            seen.append(said.splitlines()[-1])

    def examined(self) -> str:
        """Give what the doctor says once the registry knows whoever asks; empty before."""
        path = self.world.work / "doctor.yaml"
        path.write_text(json.dumps({**self.policy(), "identities": {"default": {"type": "developer"}}}))
        command = [sys.executable, "-m", "vending", "doctor", "--policy", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        return done.stdout if "(ABAC repository permissions)" in done.stdout else ""

    def check_logs(self) -> None:
        world = self.world
        for outcome, request_id in self.request_ids.items():
            with world.claim(f"the audit event of a request ({outcome}) arrives in Log Analytics") as seen:
                rows = world.until(
                    lambda request_id=request_id: self.query(f"AppTraces | where Message has '{request_id}'"), "arrived"
                )
                seen.append(f"{len(rows)} record")
        for event in EVENTS:
            with world.claim(f"the operations event `{event}` arrives in Log Analytics"):
                world.until(lambda event=event: self.query(f"AppTraces | where Message has '\"{event}\"'"), "arrived")
        for event, why in EVENTS_NOT_PROVOKED.items():
            world.not_checked(f"the operations event `{event}` arrives in Log Analytics", why)
        with world.claim("the registry's own log has the push, with the identity that made it") as seen:
            rows = world.until(
                lambda: self.query("ContainerRegistryRepositoryEvents | where Repository == 'accept/image'"), "arrived"
            )
            seen.append(f"{len(rows)} events")

    def query(self, text: str) -> list[Any]:
        spaces = self.world.az("monitor", "log-analytics", "workspace", "list", "--resource-group", self.where.group)
        # `az monitor log-analytics query` is an extension; this is the call that it makes.
        url = f"https://api.loganalytics.io/v1/workspaces/{spaces[0]['customerId']}/query"
        resource = ["--resource", "https://api.loganalytics.io"]
        given = ["--body", json.dumps({"query": text})]
        found = self.world.az("rest", "--method", "post", "--url", url, *resource, *given)
        return list(found["tables"][0]["rows"])

    def check_site(self) -> None:
        subscription = self.world.az("account", "show")["id"]
        group = f"/subscriptions/{subscription}/resourceGroups/{self.where.group}"
        resource = f"{group}/providers/Microsoft.Web/sites/{self.where.app}"
        with self.world.claim(
            "functionsRuntimeAdminIsolationEnabled is in force: /admin is closed, and the property is kept"
        ) as seen:
            site = self.world.az("rest", "--method", "get", "--url", f"{resource}?api-version=2025-03-01")
            isolated = "functionsRuntimeAdminIsolationEnabled"
            status, _ = self.world.ask(f"{self.url}/admin/host/status")
            seen.append(f"property {site['properties'].get(isolated)}, /admin/host/status {status}")
            if status == 200:
                raise Failed("it answers")
        with self.world.claim("http20Enabled is kept on Flex Consumption") as seen:
            configuration = self.world.az(
                "rest", "--method", "get", "--url", f"{resource}/config/web?api-version=2025-03-01"
            )
            if not configuration["properties"].get("http20Enabled"):
                raise Failed(str(configuration["properties"].get("http20Enabled")))
