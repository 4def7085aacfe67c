"""The routes of the agent chat panel."""
