"""Replay protection: a token of a `once` issuer is used once."""
