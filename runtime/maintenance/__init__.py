"""Maintenance: what is done again and again, whoever asks for nothing."""
