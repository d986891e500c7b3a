"""Find out whether the service could do its work: policy, issuers, identities, registries. Changes nothing anywhere.

Every check goes the way of the running app, with the app's own parts. Tokens that are obtained on the way are thrown
away; a registry's refresh token is never shown.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import jwt

from vending.acr.exchange import Minter, Probe, RegistryFailure
from vending.acr.names import ACTIONS, is_repository_name
from vending.acr.roles import ABAC, CLASSIC, Roles, roles_for
from vending.acr.scope import CATALOG, Scope, repository
from vending.acr.target import Target
from vending.cli import advice
from vending.clock import Clock
from vending.connection import SENTENCES
from vending.entra.credentials import EntraTokens, IdentityFailure
from vending.entra.identity import Identity
from vending.errors import Reason, Refusal, quote
from vending.http_client import Http, Unanswered
from vending.oidc.discovery import KeysNotFetched, fetch_key_set
from vending.oidc.keys import parse_key_set
from vending.policy import Policy
from vending.policy.engine.repositories import Insertion, Template
from vending.policy_store import STORAGE_AUDIENCE, Unavailable
from vending.wiring import own_identity, policy_source, replay_store

if TYPE_CHECKING:
    from vending.connection import Cause
    from vending.oidc.keys import KeySet
    from vending.oidc.types import Issuer
    from vending.policy import PolicyIssuer, Registry
    from vending.policy.engine.globs import Glob
    from vending.settings import Settings

Severity: TypeAlias = Literal["ok", "warning", "error"]
Examined: TypeAlias = Literal["settings", "policy", "replay store", "issuer", "identity", "registry"]

MOST_REPOSITORIES: Final = 30
"""Probed in one token request for each registry; the default limit of a caller's own request is 32."""
_AT_A_TIME: Final = 8
_SPARE_NAME: Final = "acr-token-vending/doctor"
"""A repository that no rule grants: what the identity may do there, it may do everywhere."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Say how one thing is, and, where it is not well, what fixes it."""

    check: Examined
    name: str
    outcome: Severity
    message: str
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """What is known of an identity's token: whose it is. Unverified, as Entra's tokens are opaque to their holder."""

    object_id: str | None


class Diagnosis:
    """Examine one set of settings. `say` is told what is being looked at, as it happens."""

    def __init__(self, settings: Settings, http: Http, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._http = http
        self._say = say
        self._clock = Clock()
        self._entra = EntraTokens(http, self._clock, settings.environment, budget_seconds=settings.deadline_seconds)
        self._minter = Minter(http, self._clock, budget_seconds=settings.deadline_seconds)
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def findings(self) -> AsyncIterator[Diagnostic]:
        """Yield what is found, in the order of the policy; a broken policy raises `PolicyError`."""
        self._say("policy")
        try:
            fetched = await policy_source(self._settings, self._http, self._storage_token).fetch(in_force=None)
        except Unavailable as error:
            fix = advice.connection(error.cause, advice.POLICY)
            yield Diagnostic("policy", str(self._settings.policy), "error", str(error), fix)
            return
        if fetched is None:  # A source that was never asked before always answers with a policy.
            raise RuntimeError("the policy's source has nothing to say")
        policy = fetched.policy
        yield Diagnostic("policy", str(self._settings.policy), "ok", f"loaded, SHA-256 {policy.sha256}")
        checks = [self._in_turn(check) for check in self._checks(policy)]
        tasks = [asyncio.create_task(check) for check in checks]
        try:
            for task in tasks:
                for finding in await task:
                    yield finding
        finally:
            for task in tasks:
                task.cancel()

    async def _in_turn(self, check: Callable[[], Awaitable[list[Diagnostic]]]) -> list[Diagnostic]:
        async with self._slots:
            return await check()

    def _checks(self, policy: Policy) -> Iterable[Callable[[], Awaitable[list[Diagnostic]]]]:
        yield self._replay_store
        for issuer in policy.issuers.values():
            yield _bind(self._issuer, issuer)
        for name in policy.identities:
            used = [registry for registry in policy.registries.values() if registry.identity == name]
            if used:
                yield _bind(self._identity, policy, name, used)

    # --- Replay store

    async def _storage_token(self) -> str:
        return await self._entra.token(own_identity(self._settings), STORAGE_AUDIENCE)

    async def _replay_store(self) -> list[Diagnostic]:
        self._say("replay store")
        if self._settings.replay_table is None:
            count = self._settings.worker_processes
            each = f"each of up to {count} worker processes" if count > 1 else "each worker process"
            return [
                Diagnostic(
                    "replay store",
                    "memory",
                    "warning",
                    f"{each} of each instance remembers only its own",
                    advice.REPLAY_MEMORY,
                )
            ]
        store = replay_store(self._settings, self._http, self._clock, self._storage_token)
        try:
            await store.is_claimed(secrets.token_hex(32))
        except Refusal as refusal:
            message, cause = _heard(refusal)
            fix = advice.connection(cause, advice.REPLAY_TABLE)
            return [Diagnostic("replay store", self._settings.replay_table, "error", message, fix)]
        return [Diagnostic("replay store", self._settings.replay_table, "ok", "the table can be read")]

    # --- Issuers

    async def _issuer(self, entry: PolicyIssuer) -> list[Diagnostic]:
        issuer = entry.verification
        if not issuer.enabled:
            return [Diagnostic("issuer", issuer.name, "warning", "switched off by the policy (enabled: false)")]
        self._say(f"issuer {issuer.name}")
        try:
            if issuer.static_keys is not None:
                keys, where = parse_key_set(issuer.static_keys), "written in the policy"
            else:
                keys = await fetch_key_set(
                    self._http, issuer, now=self._clock.now(), allow_loopback=self._settings.allow_loopback
                )
                where = "published"
        except KeysNotFetched as error:
            fix = advice.ISSUER_CONNECTION.get(error.cause) if error.cause else None
            return [Diagnostic("issuer", issuer.name, "error", error.detail, fix or advice.ISSUER[error.failure])]
        return [*_audience(entry), *_keys(issuer, keys, where)]

    # --- Identities and their registries

    async def _identity(self, policy: Policy, name: str, registries: list[Registry]) -> list[Diagnostic]:
        """Check an identity with every registry that names it, for a registry is out of reach without a token."""
        found: list[Diagnostic] = []
        asked: dict[tuple[Identity, str], _Held | None] = {}
        for registry in registries:
            identity = policy.identity_of(registry, self._settings.client_id)
            key = (identity, registry.token_audience)
            if key not in asked:
                self._say(f"identity {name}")
                finding, asked[key] = await self._entra_token(name, identity, registry.token_audience)
                found.append(finding)
            held = asked[key]
            if held is None:
                message = f"not examined, for its identity {name} has no token"
                found.append(Diagnostic("registry", registry.name, "error", message))
                continue
            self._say(f"registry {registry.name}")
            found += await self._registry(policy, registry, identity, held)
        return found

    async def _entra_token(self, name: str, identity: Identity, audience: str) -> tuple[Diagnostic, _Held | None]:
        try:
            token = await self._entra.token(identity, audience)
        except Refusal as refusal:
            return Diagnostic("identity", name, "error", *self._no_token(identity, refusal)), None
        claims = _unverified(token)
        told = {
            "object id": claims.get("oid"),
            "client id": claims.get("appid") or claims.get("azp"),
            "tenant": claims.get("tid"),
        }
        known = ", ".join(f"{what} {quote(value)}" for what, value in told.items() if isinstance(value, str))
        message = f"{identity.kind}: got a token for {audience}" + (f" ({known})" if known else "")
        object_id = claims.get("oid")
        return Diagnostic("identity", name, "ok", message), _Held(object_id if isinstance(object_id, str) else None)

    def _no_token(self, identity: Identity, refusal: Refusal) -> tuple[str, str]:
        """Say what was heard, and what to do about it."""
        failure = refusal if isinstance(refusal, IdentityFailure) else None
        cause = "" if failure is None or failure.cause is None else SENTENCES[failure.cause]
        heard = (
            [] if failure is None else [str(failure.status or ""), failure.entra_error or "", cause or failure.error]
        )
        message = f"{identity.kind}: {refusal.description} ({', '.join(word for word in heard if word)})"
        if failure is not None and failure.entra_error in advice.ENTRA:
            return message, advice.ENTRA[failure.entra_error]
        needs_endpoint = identity.kind in {"managed_identity", "federated_app"}
        if needs_endpoint and not self._settings.environment.get("IDENTITY_ENDPOINT"):
            return message, advice.NO_IDENTITY_ENDPOINT
        # In the first minutes after a deployment that may pass; what doctor is asked about has stayed.
        stays = needs_endpoint and failure is not None and failure.status in {400, 403, 404}
        if failure is not None and failure.cause is not None and not needs_endpoint:
            return message, advice.connection(failure.cause, advice.AUTHORITY_UNAVAILABLE)
        if refusal.reason is Reason.IDENTITY_UNAVAILABLE and not stays:
            return message, advice.IDENTITY_UNAVAILABLE.get(identity.kind, advice.AUTHORITY_UNAVAILABLE)
        return message, advice.IDENTITY_NOT_SET_UP[identity.kind]

    async def _registry(self, policy: Policy, registry: Registry, identity: Identity, held: _Held) -> list[Diagnostic]:
        target = Target.of(registry, identity, allow_loopback=self._settings.allow_loopback)
        needs = Needs.of(policy, registry.name)

        async def entra_token() -> str:
            return await self._entra.token(identity, registry.token_audience)

        try:
            probe = await self._minter.probe(target, entra_token, needs.scopes)
            spare = await self._minter.probe(target, entra_token, (repository(_SPARE_NAME, ACTIONS),))
        except Refusal as refusal:
            message, fix = _not_minted(registry, refusal, roles_for(needs.actions), held)
            return [Diagnostic("registry", registry.name, "error", message, fix)]
        return list(_granted(registry, needs, probe, spare, held))


@dataclass(frozen=True, slots=True)
class Needs:
    """What the rules of a policy want from one registry: a sample of repositories with all actions on them.

    A pattern or template stands for one name that it covers, so that ABAC conditions on prefixes are put to the test.
    `left_out` counts what the sample has no room for.
    """

    scopes: tuple[Scope, ...]
    left_out: int

    @classmethod
    def of(cls, policy: Policy, registry: str) -> Needs:
        """Gather what enabled rules grant in a registry."""
        wanted: dict[str, set[str]] = {}
        catalog = False
        rules = (rule for of_issuer in policy.rules.values() for rule in of_issuer.rules if rule.enabled)
        for grant in (grant for rule in rules for grant in rule.grants if grant.registry == registry):
            catalog = catalog or grant.catalog
            patterns: tuple[Glob | Template, ...] = (*grant.globs, *grant.templates)
            for name in (*grant.names, *map(_sample, patterns)):
                if is_repository_name(name):
                    wanted.setdefault(name, set()).update(grant.actions)
        chosen = sorted(wanted)[:MOST_REPOSITORIES]
        scopes = [repository(name, wanted[name]) for name in chosen if wanted[name]]
        if catalog:
            scopes.append(CATALOG)
        return cls(tuple(scopes) or (repository(_SPARE_NAME, ["pull"]),), len(wanted) - len(chosen))

    @property
    def pairs(self) -> frozenset[tuple[str, str, str]]:
        return frozenset((scope.type, scope.name, action) for scope in self.scopes for action in scope.actions)

    @property
    def actions(self) -> frozenset[str]:
        return frozenset(action for scope in self.scopes for action in scope.actions)


def _sample(entry: Glob | Template) -> str:
    """Make a repository name that a pattern or template covers: `web/**` → `web/doctor`, `ci-*` → `ci-x`."""
    if isinstance(entry, Template):
        filled = "/".join(part if isinstance(part, str) else _inserted(part) for part in entry.parts)
        return filled if entry.tail is None else f"{filled}/{_sample(entry.tail)}"
    return "/".join("doctor" if set(part) == {"*"} else part.replace("*", "x") for part in entry.text.split("/"))


def _inserted(insertion: Insertion) -> str:
    if insertion.lists is not None:
        return min((name for reach in insertion.lists.values() for name in reach.names), default="doctor")
    return min(insertion.table.values(), default="doctor") if insertion.table is not None else "doctor"


def _audience(entry: PolicyIssuer) -> Iterable[Diagnostic]:
    """Compare the audience that the policy demands with the one that a platform gives no choice about."""
    issuer = entry.verification
    for address in entry.preset.addresses:
        fixed = address.audience
        if fixed is not None and address.pattern.fullmatch(issuer.url) and not fixed.admits(issuer.audience):
            message = f"aud of its tokens {fixed.says}, so none has {quote(issuer.audience)}, as the policy demands"
            yield Diagnostic("issuer", issuer.name, "error", message, advice.fixed_audience(fixed))


def _keys(issuer: Issuer, keys: KeySet, where: str) -> Iterable[Diagnostic]:
    """Say how many keys can be used, and of each other one why not."""
    idle = keys.without_use(issuer.algorithms)
    fitting = len(keys.keys) - len(idle)
    listed = ", ".join(sorted(issuer.algorithms))
    message = f"{len(keys.keys)} usable key{'' if len(keys.keys) == 1 else 's'} {where}"
    if not keys.keys:
        yield Diagnostic("issuer", issuer.name, "error", message, advice.NO_USABLE_KEY)
    elif not fitting:
        own = ", ".join(sorted({algorithm for key in idle for algorithm in key.algorithms}))
        message += f", and none is for {listed}, as the policy demands, but for {own}"
        yield Diagnostic("issuer", issuer.name, "error", message, advice.ALGORITHMS)
    else:
        yield Diagnostic("issuer", issuer.name, "ok", message)
    for key in keys.unusable:
        fix = advice.PRIVATE_KEY if key.private else advice.UNUSABLE_KEY
        yield Diagnostic("issuer", issuer.name, "error" if key.private else "warning", str(key), fix)
    for spare in idle if fitting else ():
        own = ", ".join(sorted(spare.algorithms))
        message = f"kid {quote(spare.kid)} is for {own}, and the policy lists {listed}: tokens of this key are refused"
        yield Diagnostic("issuer", issuer.name, "warning", message, advice.ALGORITHMS)


def _heard(refusal: Refusal) -> tuple[str, Cause | None]:
    """Return what an operator may know beyond what a caller is told."""
    if isinstance(refusal, Unanswered):
        return refusal.detail, refusal.cause
    return refusal.description, None


def _not_minted(registry: Registry, refusal: Refusal, roles: Roles, held: _Held) -> tuple[str, str]:
    if isinstance(refusal, Unanswered):
        return refusal.detail, advice.connection(refusal.cause, advice.REGISTRY[refusal.reason])
    failure = refusal if isinstance(refusal, RegistryFailure) else None
    said = "" if failure is None else ", ".join(word for word in (failure.code, failure.detail) if word)
    status = "" if failure is None else f" (HTTP {failure.status}{f': {said}' if said else ''})"
    message = f"{registry.login_server}: {refusal.description}{status}"
    if failure is not None and failure.status == 401:
        if "token validation" in failure.detail:
            return message, advice.AUDIENCE
        return message, f"Give the identity {roles}: {_assignment(registry, roles.classic, held)}"
    if failure is not None and failure.status == 403:
        return message, advice.FIREWALL
    return message, advice.REGISTRY.get(refusal.reason, advice.REGISTRY[Reason.REGISTRY_RESPONSE_INVALID])


def _granted(registry: Registry, needs: Needs, probe: Probe, spare: Probe, held: _Held) -> Iterable[Diagnostic]:
    """Compare what the registry grants with what the rules need, and with what they never grant."""
    mode = "ABAC repository permissions" if probe.abac else "classic roles"
    lacking = needs.pairs - probe.granted
    if lacking:
        roles = roles_for(action for _, _, action in lacking)
        chosen = roles.abac if probe.abac else roles.classic
        listed = sorted(f"{kind}:{name}:{action}" for kind, name, action in lacking)
        more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
        message = f"{registry.login_server} ({mode}): the identity lacks {', '.join(listed[:10])}{more}"
        yield Diagnostic("registry", registry.name, "error", message, _assignment(registry, chosen, held))
    else:
        left_out = f"; {needs.left_out} further repositories were not tried" if needs.left_out else ""
        message = f"{registry.login_server} ({mode}): grants all that was tried of what the rules grant{left_out}"
        yield Diagnostic("registry", registry.name, "ok", message)
    if probe.service != registry.login_server and registry.service is None:
        fix = f"Write service: {probe.service} in the policy; it saves a call that is refused at each cold start."
        yield Diagnostic("registry", registry.name, "warning", f"it calls itself {quote(probe.service)}", fix)
    table, least = (ABAC, roles_for(needs.actions).abac) if probe.abac else (CLASSIC, roles_for(needs.actions).classic)
    excess = {action for _, _, action in spare.granted}.difference(*(table[role] for role in least))
    if excess:
        message = f"the identity may {', '.join(sorted(excess))} everywhere, which no rule grants"
        yield Diagnostic("registry", registry.name, "warning", message, advice.EXCESS)


def _assignment(registry: Registry, roles: Iterable[str], held: _Held) -> str:
    """Write the Azure CLI commands that assign roles on a registry."""
    name = registry.login_server.partition(".")[0].partition("-")[0]
    principal = held.object_id or "<object id of the identity>"
    return " && ".join(
        f'az role assignment create --role "{role}" --assignee-object-id {quote(principal)} '
        f'--assignee-principal-type ServicePrincipal --scope "$(az acr show --name {name} --query id --output tsv)"'
        for role in roles
    )


def _unverified(token: str) -> Mapping[str, object]:
    try:
        claims: Mapping[str, object] = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return {}
    return claims


def _bind(
    check: Callable[..., Awaitable[list[Diagnostic]]], *arguments: object
) -> Callable[[], Awaitable[list[Diagnostic]]]:
    return lambda: check(*arguments)
