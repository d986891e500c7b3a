"""What is known about each identity provider: one file a provider, which is data. Decides nothing."""
