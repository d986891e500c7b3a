"""What the pages call unverified, and what the run says of it: the claim that settles it, or why none can.

The keys are the first words of a bullet of docs/deploy.md or of a row of docs/acr.md; a test holds pages and tables
together, and the report has one line for each.
"""

from __future__ import annotations

from collections.abc import Sequence

from world import Outcome

ABAC = "the identity is bounded by its ABAC condition"
DOCTOR = "the doctor reads policy"
SETTLED = {
    "The values that Azure checks itself": "Bicep: the first deployment succeeds",
    "`functionsRuntimeAdminIsolationEnabled`, `http20Enabled`": "functionsRuntimeAdminIsolationEnabled is in force",
    "That a package with its dependencies runs": "a package that carries its dependencies runs",
    "Whether the time that role assignments need": "the policy can be uploaded by whom the parameters name",
    "That an ABAC condition bounds a registry": ABAC,
    "What `/oauth2/token` answers when the identity lacks an action": ABAC,
    "`access` when nothing is granted": ABAC,
    "Whether ABAC shows in the refresh token": DOCTOR,
    "The body of the 401 for an ARM-audience token where ARM is disabled": "refused as documented: `registry_refused`",
    "How many scopes one request may have": "as many scopes as one request may have",
    "Whether an access token can be traded": "an access token cannot be traded",
    "The lifetime of a token that a client gets": "a token that a client gets by trading",
    "A JWK set for ACR's tokens": "the registry publishes no keys",
    "Whether a first push needs the repository": "docker logs in, pushes a first image",
}
LEFT = {
    "Whether the minimal custom": "the run has Owner; a second identity with those roles would have to run it again",
    "Whether bytecode of the dependencies": "the app does not tell what it compiled",
    "Prices": "only an invoice shows them",
    "`aud` and `service` of regional endpoints": "the run's registry has neither",
    "Scopes with wildcards": "the service never sends one",
    "Whether a refresh token ends": "an Entra token would have to expire, which takes a day",
    "Whether issued tokens outlive": "a role takes up to ten minutes to go, so a pull that still works shows nothing",
    "Whether `roles` or other claims": "a token that has them would have to be made by ACR",
    "A federated credential in a custom cloud": "it takes a cloud of one's own",
    "Roles in clouds of their own": "it takes a cloud of one's own",
}


def of_facts(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Give one outcome for each fact: that of the claim which settles it."""
    found = []
    for fact, claim in SETTLED.items():
        seen = [each for each in outcomes if each.claim.startswith(claim)]
        found.append(Outcome(fact, seen[0].result, seen[0].claim) if seen else Outcome(fact, "not checked", "left out"))
    return found + [Outcome(fact, "not checked", why) for fact, why in LEFT.items()]
