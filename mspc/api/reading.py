"""The body of a request, within its limit."""

import falcon


def read_body(req: falcon.Request, max_bytes: int) -> bytes:
    """The body, whether it came with a length or in chunks.

    Falcon's bounded_stream takes a chunked body for an empty one.

    Raises:
        HTTPContentTooLarge: it has more than `max_bytes`.
        HTTPBadRequest: it does not come to its end.
    """
    if (req.content_length or 0) > max_bytes:
        raise falcon.HTTPContentTooLarge
    try:
        body: bytes = req.env["wsgi.input"].read(max_bytes + 1)
    except OSError as exc:  # hung up, or chunks that are none
        raise falcon.HTTPBadRequest(
            description="The body ended early or is not properly chunked."
        ) from exc
    if len(body) > max_bytes:
        raise falcon.HTTPContentTooLarge
    return body
