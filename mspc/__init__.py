"""mspc: a durable HTTP call proxy."""

from mspc.version import __version__ as __version__
