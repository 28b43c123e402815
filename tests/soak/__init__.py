"""The runtime under random faults for as long as one likes: ``python -m tests.soak --minutes 10 --seed 7``."""
