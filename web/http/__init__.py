"""HTTP: requests read, responses and errors made."""
