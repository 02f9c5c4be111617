"""The messages that the services and the wallets exchange: the only code that services share about each other."""
