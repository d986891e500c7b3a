"""The command line, `python -m vending`: check, test and explain a policy before it is in force. Vends nothing."""
