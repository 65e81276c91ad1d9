"""How targets are spoken to over TLS."""

import ssl

from mspc.settings.certificates import trusting
from mspc.settings.config import ForwardConfig


def client_context(config: ForwardConfig) -> ssl.SSLContext:
    """For every connection to a target.

    Raises:
        NoCertificates: `config.ca_file` has changed since the settings were read.
    """
    context = trusting(config.ca_file)
    if not config.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
