"""What a request passes before anybody looks at what it wants: CORS, and a proxy's headers.

Both are oslo.middleware's, under its option names. Each costs something, so it is there only where the
operator has turned it on.
"""

from typing import TYPE_CHECKING

import webob
from oslo_middleware import cors, http_proxy_to_wsgi

from api import auth
from images import config

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: Headers that a browser's script may send and see, and methods that it may use (contract section 2.0).
_HEADERS = [
    *("Content-MD5", "X-Image-Meta-Checksum", "X-Storage-Token", "Accept-Encoding", "X-Auth-Token"),
    *("X-Identity-Status", "X-Roles", "X-Service-Catalog", "X-User-Id", "X-Tenant-Id"),
    "X-OpenStack-Request-ID",
]
_METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH"]


def wrap(app: "WSGIApplication") -> "WSGIApplication":
    """`app` behind what the configuration wants of CORS ([cors]) and proxies ([oslo_middleware])."""
    conf = config.CONF
    conf.register_opts(http_proxy_to_wsgi.OPTS, group="oslo_middleware")
    if conf.oslo_middleware.enable_proxy_headers_parsing:
        app = _ProxyHeaders(app, conf)
    cors.set_defaults(allow_headers=_HEADERS, expose_headers=_HEADERS, allow_methods=_METHODS)
    conf.register_opts(cors.OPTS, group="cors")
    if conf.cors.allowed_origin:
        app = cors.CORS(app, conf)
    return app


class _ProxyHeaders(http_proxy_to_wsgi.HTTPProxyToWSGI):
    def process_request(self, req: webob.Request) -> None:
        """Take what the headers say; but who is at the other end of the connection is not theirs to say."""
        auth.remember_peer(req.environ)
        super().process_request(req)
