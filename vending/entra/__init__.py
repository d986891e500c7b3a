"""Entra ID: clouds, and the identities that the service mints with."""
