"""``branchline gradio``: a chat as a Gradio page, a client of the Thread API like any other.

It knows the web process by its address only, and nothing else of Branchline knows it.
"""
