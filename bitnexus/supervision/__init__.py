"""Supervision: child specifications, strategies and restart intensity, as OTP has them.

The core is pure: :mod:`.machine` decides, :mod:`.events` says what a driver tells it and does for it.
"""
