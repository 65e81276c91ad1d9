"""How the service ends."""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIG = 2
