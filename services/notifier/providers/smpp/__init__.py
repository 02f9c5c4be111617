"""SMS by SMPP 3.4: to an operator's or aggregator's SMSC, over a connection on which both sides send requests."""
