"""How targets are spoken to over TLS."""

import ssl

from mspc.settings.certificates import trusting
from mspc.settings.config import ForwardConfig


class ClientContext:
    """The context of every connection to a target, from the first that asks.

    A file of the settings is read at once. The system's certificates, more than a
    hundred, are read for the first call over TLS: that takes 20 ms, a twentieth of the
    start.
    """

    def __init__(self, config: ForwardConfig) -> None:
        """
        Raises:
            NoCertificates: `config.ca_file` has changed since the settings were read.
        """
        self._config = config
        self._kept: ssl.SSLContext | None = None
        if config.ca_file is not None:
            self._kept = self._made()

    def __call__(self) -> ssl.SSLContext:
        if self._kept is not None:
            return self._kept
        context = self._made()
        # OpenSSL does not say when it could not read them: for want of a descriptor,
        # for example. Then they are read again for the next call.
        if (
            context.cert_store_stats()["x509"]
            or not ssl.get_default_verify_paths().cafile
        ):
            self._kept = context
        return context

    def _made(self) -> ssl.SSLContext:
        context = trusting(self._config.ca_file)
        if not self._config.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
