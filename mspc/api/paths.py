"""Which paths there are, and what may be asked of each."""

ALLOWED = {
    "/": ("POST",),
    "/health/live": ("GET", "HEAD"),
    "/health/ready": ("GET", "HEAD"),
}
