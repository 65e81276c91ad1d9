"""mspc: a durable HTTP call proxy."""

__version__ = "0.1.0"
