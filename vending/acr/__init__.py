"""Azure Container Registry: scopes, the exchange, and what a vended token says."""
