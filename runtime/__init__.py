"""Branchline: a distributed job-queue runtime for chat agents."""

__version__ = "0.1.0"
