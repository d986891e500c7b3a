"""ACR Token Vending: trade a CI job's OIDC token for an exactly scoped registry token."""

__version__ = "0.1.0"
