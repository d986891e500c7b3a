"""An emulated Azure Container Registry on 127.0.0.1."""
