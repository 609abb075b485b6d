"""The routes: each reads a request, asks the room that knows, and answers."""
