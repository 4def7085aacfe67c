"""How well and how quickly the knowledge base is searched: ``python -m bench.knowledge``."""
