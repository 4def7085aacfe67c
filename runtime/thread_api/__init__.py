"""Clients of the Thread API: what the command line and the Gradio page share."""
