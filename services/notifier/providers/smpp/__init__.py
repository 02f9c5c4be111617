"""SMS by SMPP 3.4: to the SMSC of an operator or an aggregator, over a connection that both sides speak on."""
