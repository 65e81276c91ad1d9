"""mspc beside its peers and its limits: `make bench`."""
