"""The messages that services and wallets exchange: all that the services know of each other."""
