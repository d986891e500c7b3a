"""What is known about each identity provider, as data. Decides nothing."""
