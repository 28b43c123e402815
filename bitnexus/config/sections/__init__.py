"""The settings by subject: each section has its variables and their rules; settings.py puts them together."""
