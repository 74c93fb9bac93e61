"""The front door: OAuth, bearer tokens, health, metrics, and the applications it is handed."""
