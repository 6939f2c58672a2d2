"""Migrations, oldest first: `<number>_<what>.py`. Append only; a release's file never changes."""
