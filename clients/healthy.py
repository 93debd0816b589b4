"""`python -m reallot.clients.healthy`: exit code 0 if the server of this machine can do its work, for health checks of containers.

It reads the server's settings from the environment: where there is a port of metrics (REALLOT_METRICS_PORT), that says whether the
server is ready; else the standard health service at REALLOT_PORT does, which needs a server without TLS.
"""

import os
import sys
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

PATIENCE_S = 4.0
READY = "reallot_ready 1.0"


def metrics_say_ready(port: int) -> bool:
    """Tell whether the metrics on a port of this machine say that the server is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:  # nosec B310 # http to this machine
            return READY in answer.read().decode().splitlines()
    except OSError as error:
        sys.stderr.write(f"metrics at port {port}: {error}\n")
        return False


def health_says_serving(port: int) -> bool:
    """Tell whether the health service on a port of this machine says that the server is serving."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        except grpc.RpcError as error:
            sys.stderr.write(f"health at port {port}: {error.code().name} {error.details()}\n")
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> int:
    """Return the exit code."""
    metrics, port = os.environ.get("REALLOT_METRICS_PORT"), int(os.environ.get("REALLOT_PORT", "7350"))
    return 0 if (metrics_say_ready(int(metrics)) if metrics else health_says_serving(port)) else 1


if __name__ == "__main__":
    sys.exit(main())
