"""pcompose: a Compose-Specification orchestrator with its own container runtime.

This module imports nothing: the keeper passes through it on its way to `runtime.keeper`,
and every millisecond here is paid by every command.
"""

__version__ = "0.1.0"
