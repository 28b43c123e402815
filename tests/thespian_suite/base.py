"""A pytest plugin: where Thespian looks for its TCP system base, it finds ours."""

import sys

import bitnexus.actors.runtime.system

sys.modules["thespian.system.multiprocTCPBase"] = bitnexus.actors.runtime.system
