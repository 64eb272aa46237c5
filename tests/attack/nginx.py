"""A real nginx before the two gateways, balancing as a Service's Ingress should: by the bearer, so by the client.

It comes to them from 127.0.0.2, as an Ingress comes from an address of its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.gateway.test_kill_and_restart import free_port

NGINX = shutil.which("nginx") or next((path for path in ("/usr/sbin/nginx",) if Path(path).exists()), None)

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream mcp {{
        hash $http_authorization consistent;
        {servers}
        keepalive 16;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_bind 127.0.0.2;
            proxy_pass http://mcp;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_buffering off;
            proxy_read_timeout 300s;
        }}
    }}
}}
"""


@contextmanager
def before(ports: Sequence[int], directory: Path) -> Iterator[str]:
    """The base URL of an nginx before these ports of this machine."""
    assert NGINX is not None
    port = free_port()
    servers = "\n        ".join(f"server 127.0.0.1:{one} max_fails=1 fail_timeout=1s;" for one in ports)
    file = directory / "nginx.conf"
    file.write_text(CONFIGURATION.format(directory=directory, servers=servers, port=port))
    with subprocess.Popen([NGINX, "-c", str(file), "-e", str(directory / "nginx.log"), "-p", str(directory)]) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
