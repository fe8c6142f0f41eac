"""The aiohttp application: pages, JSON API, live events, health."""
