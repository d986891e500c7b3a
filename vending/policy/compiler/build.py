"""Build a policy from its model: check what the values mean together, and compile them. Reads no file by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from vending.acr.names import is_repository_name
from vending.entra.clouds import ACR_AUDIENCE, CLOUDS, Cloud
from vending.entra.identity import Identity
from vending.json_document import NotJson, json_object
from vending.oidc.claim_path import parse_key
from vending.oidc.types import Issuer
from vending.policy.compiler.bounds import BoundsChecker
from vending.policy.compiler.clauses import ClauseCompiler
from vending.policy.compiler.cost import check_cost
from vending.policy.compiler.hosts import (
    check_audience,
    check_custom_host,
    check_issuer_url,
    check_registry_host,
    check_token_audience,
    is_regional,
)
from vending.policy.compiler.rules import RuleCompiler
from vending.policy.engine.policy import (
    DEFAULT_IDENTITY,
    Environment,
    Limits,
    Policy,
    PolicyIssuer,
    Registry,
)
from vending.policy.engine.repositories import RESERVED_FILTERS, Maps, RepositoryError, compile_plain
from vending.policy.language.fields import seconds
from vending.policy.language.models import IdentityModel, IssuerModel, PolicyModel, RegistryModel
from vending.policy.language.problems import Code, Finding, Location
from vending.policy.providers.presets import PRESETS, owner_of
from vending.trust import pem_text, trust

if TYPE_CHECKING:
    from vending.policy.language.document import Document

MAX_TOKEN_LIFETIME: Final = 30 * 86_400
"""No CI token lives longer; a mistaken `90d` should not load."""

ReadFile = Callable[[str], bytes]
"""Reads a file beside the policy. Raises `ValueError` saying why it cannot."""


def build(
    model: PolicyModel, document: Document, environment: Environment, read_file: ReadFile, sha256: str
) -> tuple[Policy, list[Finding]]:
    """Build the policy, and say everything that is wrong with it; with findings, the policy is not to be used."""
    builder = _Builder(model, document, environment, read_file)
    policy = builder.build(sha256)
    return policy, builder.findings


@dataclass(slots=True)
class _Builder:
    model: PolicyModel
    document: Document
    environment: Environment
    read_file: ReadFile
    findings: list[Finding] = field(default_factory=list)
    _first_with: dict[str, str] = field(default_factory=dict)

    def build(self, sha256: str) -> Policy:
        model = self.model
        problem = check_audience(model.audience, self.environment)
        if problem:
            self._add(("audience",), Code.AUDIENCE, problem)
        identities = self._identities()
        registries = {name: self._registry(name, entry) for name, entry in model.registries.items()}
        self._check_hosts_unique(registries)
        issuers = {name: self._issuer(name, entry) for name, entry in model.issuers.items()}
        maps = self._maps()
        clauses = ClauseCompiler(model.conditions, model.lists)
        compiler = RuleCompiler(self.document, issuers, frozenset(registries), maps, clauses)
        rules = compiler.compile(model)
        self.findings += compiler.findings
        self.findings += check_cost(rules, model.limits.max_scopes)
        self.findings += BoundsChecker(model, self.document, maps).check()
        audit = model.audit.claims if model.audit else []
        for number, claim in enumerate(audit):
            self._names_claim(claim, ("audit", "claims", number))
        return Policy(
            sha256=sha256,
            audience=model.audience,
            issuers={issuer.verification.url: issuer for issuer in issuers.values()},
            registries=registries,
            identities=identities,
            limits=Limits(model.limits.requests_per_minute, model.limits.max_scopes),
            audit_claims=frozenset(audit),
            rules=rules,
            registry_of=_registries_by_host(registries),
        )

    def _add(self, path: Location, code: Code, message: str, *, at_key: bool = False) -> None:
        self.findings.append(Finding(path, code, message, at_key))

    def _names_claim(self, claim: str, path: Location) -> bool:
        try:
            parse_key(claim)
        except ValueError as error:
            self._add(path, Code.POINTER, f"{claim!r} names no claim: {error}")
            return False
        return True

    # --- Identities ---------------------------------------------------------------------------------------------------

    def _identities(self) -> dict[str, Identity]:
        managed = {DEFAULT_IDENTITY: Identity("managed_identity")}
        others: dict[str, Identity] = {}
        for name, entry in self.model.identities.items():
            self._check_identity(entry, ("identities", name))
            if entry.type == "managed_identity":
                managed[name] = _identity(entry)
            else:
                others[name] = _identity(entry)
        if DEFAULT_IDENTITY in others:
            del managed[DEFAULT_IDENTITY]
        for name, entry in self.model.identities.items():
            if entry.type == "federated_app":
                others[name] = self._trusting(others[name], entry.managed_identity, ("identities", name), managed)
        return {**managed, **others}

    def _check_identity(self, entry: IdentityModel, path: Location) -> None:
        if entry.type == "managed_identity" and entry.client_id and entry.resource_id:
            self._add((*path, "resource_id"), Code.CONFLICT, "write client_id or resource_id, not both", at_key=True)
        if entry.type == "service_principal" and bool(entry.secret_setting) == bool(entry.certificate_setting):
            self._add(path, Code.CONFLICT, "write secret_setting or certificate_setting, one of the two")

    def _trusting(self, app: Identity, trusted: str, path: Location, managed: Mapping[str, Identity]) -> Identity:
        if trusted in managed:
            return app.trusted_as(managed[trusted])
        self._add(
            (*path, "managed_identity"),
            Code.REFERENCE,
            f"unknown managed identity {trusted!r}; expected one of {', '.join(sorted(managed))}",
        )
        return app

    # --- Registries ---------------------------------------------------------------------------------------------------

    def _registry(self, name: str, entry: RegistryModel) -> Registry:
        path = ("registries", name)
        cloud = self._cloud(entry, path)
        if entry.identity not in self.model.identities and entry.identity != DEFAULT_IDENTITY:
            known = ", ".join(sorted({DEFAULT_IDENTITY, *self.model.identities}))
            message = f"unknown identity {entry.identity!r}; expected one of {known}"
            self._add((*path, "identity"), Code.REFERENCE, message)
        problem = check_registry_host(entry.login_server, cloud, self.environment, further=False)
        if problem:
            self._add((*path, "login_server"), Code.REGISTRY_HOST, problem)
        if entry.service is not None and is_regional(entry.service):
            problem = f"{entry.service} is a regional endpoint; write it under hosts"
            self._add((*path, "service"), Code.REGISTRY_HOST, problem)
        problem = check_token_audience(entry.token_audience) if entry.token_audience else None
        if problem:
            self._add((*path, "token_audience"), Code.VALUE, problem)
        for number, host in enumerate(entry.hosts):
            problem = check_registry_host(host, cloud, self.environment, further=True)
            if problem:
                self._add((*path, "hosts", number), Code.REGISTRY_HOST, problem)
        return Registry(
            name=name,
            login_server=entry.login_server,
            service=entry.service,
            hosts=tuple(entry.hosts),
            cloud=cloud,
            identity=entry.identity,
            token_audience=entry.token_audience or ACR_AUDIENCE,
            authority_host=cloud.authority_host,
        )

    def _cloud(self, entry: RegistryModel, path: Location) -> Cloud:
        if entry.cloud != "custom":
            if entry.authority_host is not None:
                self._add((*path, "authority_host"), Code.CONFLICT, "authority_host needs cloud: custom", at_key=True)
            return CLOUDS[entry.cloud]
        for key, value in (("authority_host", entry.authority_host), ("token_audience", entry.token_audience)):
            if value is None:
                self._add(path, Code.MISSING_KEY, f"cloud: custom needs {key}; add it", at_key=True)
        if entry.authority_host is not None:
            problem = check_custom_host(entry.authority_host, self.environment)
            if problem:
                self._add((*path, "authority_host"), Code.REGISTRY_HOST, problem)
        return Cloud("custom", suffix="", authority_host=entry.authority_host or "", federation_audience="")

    def _check_hosts_unique(self, registries: Mapping[str, Registry]) -> None:
        owner: dict[str, str] = {}
        for name, registry in registries.items():
            own: set[str] = set()
            places: list[tuple[str, tuple[str | int, ...]]] = [(registry.login_server, ("login_server",))]
            places += [(host, ("hosts", number)) for number, host in enumerate(registry.hosts)]
            for host, place in places:
                if owner.setdefault(host, name) != name or host in own:
                    self._taken(host, owner[host], ("registries", name, *place))
                own.add(host)
            if registry.service is not None and owner.setdefault(registry.service, name) != name:
                self._taken(registry.service, owner[registry.service], ("registries", name, "service"))

    def _taken(self, host: str, owner: str, path: Location) -> None:
        self._add(path, Code.DUPLICATE_HOST, f"{host} belongs to the registry {owner!r} already; remove one of the two")

    # --- Issuers ------------------------------------------------------------------------------------------------------

    def _issuer(self, name: str, entry: IssuerModel) -> PolicyIssuer:
        path = ("issuers", name)
        preset = PRESETS[entry.preset]
        url = self._issuer_url(entry, path)
        multi_tenant = preset.shares(url)
        if entry.identity_claims is not None:
            if entry.preset != "generic":
                self._add(
                    (*path, "identity_claims"), Code.CONFLICT, "identity_claims needs preset: generic", at_key=True
                )
            claims = tuple(
                claim
                for number, claim in enumerate(entry.identity_claims)
                if self._names_claim(claim, (*path, "identity_claims", number))
            )
            preset = replace(preset, identity=claims, callers=(claims,))
        lifetime = seconds(entry.max_token_lifetime) if entry.max_token_lifetime else preset.lifetime
        if lifetime > MAX_TOKEN_LIFETIME:
            self._add((*path, "max_token_lifetime"), Code.VALUE, "no token lives longer than 30d; write less")
        verification = Issuer(
            name=name,
            url=url,
            audience=entry.audience or self.model.audience,
            algorithms=frozenset(entry.algorithms),
            max_token_lifetime=lifetime,
            replay=entry.replay or preset.replay,
            enabled=entry.enabled,
            allow_extra_audiences=entry.allow_extra_audiences,
            extra_audience=preset.extra_audience,
            static_keys=self._static_keys(entry, path),
            ca_pem=self._ca(entry, path),
        )
        return PolicyIssuer(name, verification, replace(preset, multi_tenant=multi_tenant))

    def _issuer_url(self, entry: IssuerModel, path: Location) -> str:
        preset = PRESETS[entry.preset]
        url = entry.issuer or preset.default_issuer
        if url is None:
            self._add(path, Code.MISSING_KEY, f"issuer is missing; write {preset.issuer_form}", at_key=True)
            return f"missing:{path[-1]}"
        place = (*path, "issuer") if entry.issuer else path
        has_static_keys = entry.jwks is not None or entry.jwks_file is not None
        problem = check_issuer_url(url, self.environment, has_static_keys=has_static_keys)
        owner = owner_of(url)
        if owner is not None and owner != entry.preset:
            problem = f"tokens of {url} are described by the preset {owner}; write preset: {owner}"
        first = self._first_with.setdefault(url, str(path[-1]))
        if first != path[-1]:
            problem = f"{url} is the issuer {first!r} already; remove one of the two"
        if problem:
            self._add(place, Code.ISSUER_URL, problem, at_key=entry.issuer is None)
        return url

    def _static_keys(self, entry: IssuerModel, path: Location) -> dict[str, Any] | None:
        key = "jwks" if entry.jwks is not None else "jwks_file"
        jwks = entry.jwks
        if entry.jwks is not None and entry.jwks_file is not None:
            self._add((*path, "jwks_file"), Code.CONFLICT, "write jwks or jwks_file, not both", at_key=True)
        elif entry.jwks_file is not None:
            jwks = self._read((*path, "jwks_file"), entry.jwks_file, json_object)
        if jwks is not None:
            for problem in _check_key_set(jwks):
                self._add((*path, key), Code.KEYS, problem)
        return jwks

    def _ca(self, entry: IssuerModel, path: Location) -> str | None:
        key = "ca" if entry.ca is not None else "ca_file"
        pem = entry.ca
        if entry.ca is not None and entry.ca_file is not None:
            self._add((*path, "ca_file"), Code.CONFLICT, "write ca or ca_file, not both", at_key=True)
        elif entry.ca_file is not None:
            pem = self._read((*path, "ca_file"), entry.ca_file, pem_text)
        if pem is not None:
            problem = _check_certificates(pem)
            if problem:
                self._add((*path, key), Code.KEYS, problem)
        return pem

    def _read(self, path: Location, name: str, parse: Callable[[bytes], Any]) -> Any:
        try:
            data = self.read_file(name)
        except ValueError as error:
            self._add(path, Code.FILE, str(error))
            return None
        try:
            return parse(data)
        except NotJson as error:
            self._add(path, Code.FILE, f"{name} {error}")
            return None
        except ValueError:
            self._add(path, Code.FILE, f"{name} cannot be understood")
            return None

    # --- Maps ---------------------------------------------------------------------------------------------------------

    def _maps(self) -> Maps:
        """Return the maps with the values that are in order; the others are reported, once and here."""
        usable: dict[str, dict[str, str | list[str]]] = {}
        for name, table in self.model.maps.items():
            if name in RESERVED_FILTERS:
                self._add(("maps", name), Code.CONFLICT, f"{name} is a word of templates; choose another", at_key=True)
            usable[name] = {key: value for key, value in table.items() if self._is_usable(value, ("maps", name, key))}
        return usable

    def _is_usable(self, value: str | list[str], path: Location) -> bool:
        if isinstance(value, str):
            if not is_repository_name(value):
                self._add(path, Code.REPOSITORY, f"{value!r} is no repository name")
            return is_repository_name(value)
        before = len(self.findings)
        for number, text in enumerate(value):
            try:
                compile_plain(text)
            except RepositoryError as error:
                self._add((*path, number), Code.REPOSITORY, f"{text!r} {error}")
            except ValueError as error:
                self._add((*path, number), Code.PATTERN, f"in {text!r}, {error}")
        return len(self.findings) == before


def _registries_by_host(registries: Mapping[str, Registry]) -> dict[str, Registry]:
    by_host = {host: registry for registry in registries.values() for host in registry.all_hosts}
    return {**by_host, **registries}


def _check_key_set(jwks: Any) -> list[str]:
    """Say what is wrong with static keys, with the parser that verification uses."""
    from vending.oidc.keys import static_key_problems

    if not isinstance(jwks, dict):
        return ["this is no JWK set: write a mapping with a list named keys"]
    return static_key_problems(jwks)


def _check_certificates(pem: str) -> str | None:
    from cryptography import x509

    from vending.connection import Broken

    try:
        x509.load_pem_x509_certificates(pem.encode("ascii"))
        trust(pem)  # OpenSSL's reader, which is the one that will have to cope.
    except (ValueError, Broken):
        return "these are no PEM certificates; write -----BEGIN CERTIFICATE----- and so on"
    return None


def _identity(entry: IdentityModel) -> Identity:
    """Take over the ids as the file has them, GUIDs in lower case: one identity is one cache key."""
    written = entry.model_dump(exclude={"type", "managed_identity"}, exclude_none=True)
    lowered = {name: value.lower() if name in {"tenant_id", "client_id"} else value for name, value in written.items()}
    return Identity(entry.type, **lowered)
