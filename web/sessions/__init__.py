"""The routes of sessions: threads that go on by themselves."""
