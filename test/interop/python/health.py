"""Checks the health of a service, then watches it until the server goes. Prints a line for each status.

usage: health.py PORT SERVICE
"""
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def name(response):
    return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)


port, service = sys.argv[1:]
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=service)
    try:
        print("check", name(stub.Check(request)), flush=True)
        for response in stub.Watch(request):
            print("watch", name(response), flush=True)
    except grpc.RpcError as error:
        print("end", error.code().name, flush=True)
