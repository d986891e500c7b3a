"""What the pages call unverified, and which claim of the run settles it; a test holds both together.

Each is the first words of a bullet of docs/deploy.md or of a row of docs/acr.md, with the beginning of the claim, or
with `None` where one run cannot settle it.
"""

from __future__ import annotations

DEPLOY: dict[str, str | None] = {
    "The values that Azure checks itself": "Bicep: the first deployment succeeds",
    "`functionsRuntimeAdminIsolationEnabled`, `http20Enabled`": "functionsRuntimeAdminIsolationEnabled is in force",
    "Whether the time that role assignments need": "the policy can be uploaded by whom the parameters name",
    "That an ABAC condition bounds a registry": "the identity is bounded by its ABAC condition",
    "That the least custom roles": None,
    "Prices": None,
}
ACR: dict[str, str | None] = {
    "What `/oauth2/token` answers when the identity lacks an action": "the identity is bounded by its ABAC condition",
    "`access` when nothing is granted": "the identity is bounded by its ABAC condition",
    "Whether ABAC shows in the refresh token": "the doctor reads policy",
    "The body of the 401 for an ARM-audience token where ARM is disabled": None,
    "`aud` and `service` of regional endpoints": None,
    "Scopes with wildcards": None,
    "How many scopes one request may have": None,
    "Whether an access token can be traded": "an access token cannot be traded",
    "The life of a token that a client gets": None,
    "Whether a refresh token ends": None,
    "Whether issued tokens outlive": None,
    "A JWK set for ACR's tokens": None,
    "Whether `roles` or other claims": None,
    "Whether a first push needs the repository": "docker logs in, pushes a first image",
    "A federated credential in a custom cloud": None,
    "Roles in clouds of their own": None,
}
WHY = "needs more than one subscription, registry, cloud or hour; see the page"
