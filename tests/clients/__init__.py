"""The clients: scripts, templates and the credential helper, run as their platforms run them."""
