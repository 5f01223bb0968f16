"""
Simulated firewalls, for the demo and for tests.

``traffic`` says which sessions there are and when, ``firewalls`` how each product logs a session, ``senders`` takes the
messages to the daemon over real sockets.
"""
