"""OIDC issuers on 127.0.0.1 that mint CI-shaped tokens."""
