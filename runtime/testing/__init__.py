"""Branchline, Redis and PostgreSQL, started on this machine for a while and talked to from outside.

Tests and benchmarks both stand on it; it imports neither of them, and nothing of the
product imports it. It runs from the checkout only: packages leave it out.
"""
