"""A client that knows no .proto: it asks the server what there is, by reflection, and reads a stream of it. Prints lines of JSON: the
services with their methods, then each message.

usage: stranger.py PORT REQUEST        REQUEST being what it says first, as JSON
"""
import base64
import json
import queue
import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def plain(value):
    """A message as JSON, an Any as it is: nobody told what its type URL means."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if not hasattr(value, "ListFields"):
        return value
    return {
        field.name: [plain(each) for each in content] if field.is_repeated else plain(content)
        for field, content in value.ListFields()
    }


port, request = sys.argv[1:]
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    reflection = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(reflection)
    services = [pool.FindServiceByName(name) for name in sorted(reflection.get_services())]
    methods = [method for service in services for method in service.methods]
    print(json.dumps([f"{each.containing_service.full_name}/{each.name}" for each in methods]), flush=True)

    [method] = [each for each in methods if each.client_streaming and each.server_streaming]
    Request = message_factory.GetMessageClass(method.input_type)
    Response = message_factory.GetMessageClass(method.output_type)
    requests = queue.SimpleQueue()
    requests.put(json_format.ParseDict(json.loads(request), Request()))
    open_stream = channel.stream_stream(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=Request.SerializeToString,
        response_deserializer=Response.FromString,
    )
    try:
        for answer in open_stream(iter(requests.get, None)):
            print(json.dumps(plain(answer)), flush=True)
    finally:
        requests.put(None)
