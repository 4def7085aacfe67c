"""Branchline, Redis and PostgreSQL, started on this machine for a while and talked to from outside.

Tests and benchmarks both stand on it, and it imports neither of them. It runs from
the checkout only and is no part of what a deployment installs.
"""
