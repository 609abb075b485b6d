"""The dashboard in a browser: static pages, a small JSON API under them, and the news as they come."""
