"""Who may do what: accounts, credentials, limits of attempts."""
