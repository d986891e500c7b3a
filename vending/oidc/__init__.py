"""OpenID Connect: from a caller's raw token to verified claims. Decides nothing about rights."""
