"""Server-Sent Events and what they are made of."""
