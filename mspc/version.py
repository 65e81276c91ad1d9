"""The version, in one place: the package's metadata are made of it as well."""

__version__ = "0.1.0"
