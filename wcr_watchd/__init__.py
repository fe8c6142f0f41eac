"""wcr-watchd: one daemon that watches a small web platform, tells the right person, and says when it cannot know."""

__version__ = "0.1.0"
