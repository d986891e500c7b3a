"""Whom the service trusts on the network, and what it says where it does not."""
