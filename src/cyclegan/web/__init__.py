"""Runs in a browser: their state as plain data, the page that shows it, and the server."""
