"""A little tree of real processes for tests of the runtime and its supervision."""
