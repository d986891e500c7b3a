"""The Azure Functions host on 127.0.0.1."""
