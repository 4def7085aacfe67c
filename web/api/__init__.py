"""The Thread API and the Worker API: views and their schemas."""
