"""Entra ID on 127.0.0.1: a tenant, its token endpoint and the managed-identity endpoint."""
