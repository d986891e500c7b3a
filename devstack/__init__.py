"""The local stack for development and tests: what a laptop lacks, over real sockets on 127.0.0.1. Never deployed."""
