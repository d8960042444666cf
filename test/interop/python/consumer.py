"""A consumer with nothing but the .proto, from which its messages were generated. Prints a line of JSON for each thing that it learns.

usage: consumer.py PORT consume STREAM [OFFSETS]     OFFSETS being a JSON array of {timestamp, seen, slice}
       consumer.py PORT load STREAM PERSISTENCE_ID SEQ_NR ...
       consumer.py PORT timestamp STREAM PERSISTENCE_ID SEQ_NR ...
"""
import json
import queue
import sys

import grpc
from akka.projection.grpc import event_producer_pb2 as messages
from akka.projection.grpc.event_producer_pb2_grpc import EventProducerServiceStub
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue


def say(value):
    print(json.dumps(value), flush=True)


def micros(timestamp):
    assert timestamp.nanos % 1000 == 0, timestamp
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1000


def decoded(payload):
    """The event, as whoever knows the type URLs reads it."""
    scheme, _, name = payload.type_url.partition("/")
    if scheme == "json.sluice":
        return json.loads(payload.value)
    if payload.type_url == "ser.akka.io/20":
        return payload.value.decode("utf-8")
    message = StringValue()
    assert payload.Unpack(message), payload.type_url
    return message.value


def described(answer):
    case = answer.WhichOneof("message")
    place = getattr(answer, case)
    assert len(place.offset) == 1, place
    [offset] = place.offset
    assert not offset.HasField("slice"), offset
    result = {
        "case": case,
        "persistence_id": place.persistence_id,
        "seq_nr": place.seq_nr,
        "slice": place.slice,
        "position": place.sluice_position,
        "timestamp": micros(offset.timestamp),
        "seen": {each.persistence_id: each.seq_nr for each in offset.seen},
        "source": place.source,
    }
    if case == "event":
        result["tags"] = list(place.tags)
        if place.HasField("metadata"):
            result["metadata"] = json.loads(place.metadata.value)
        if place.HasField("payload"):
            result["type_url"] = place.payload.type_url
            result["bytes"] = place.payload.value.hex()
            result["decoded"] = decoded(place.payload)
    return result


def offset_of(given):
    timestamp = Timestamp()
    timestamp.FromMicroseconds(given["timestamp"])
    seen = [messages.PersistenceIdSeqNr(persistence_id=id, seq_nr=n) for id, n in given["seen"].items()]
    return messages.Offset(timestamp=timestamp, seen=seen, slice=given.get("slice"))


def consume(stub, stream_id, offsets="[]"):
    offset = [offset_of(each) for each in json.loads(offsets)]
    init = messages.InitReq(stream_id=stream_id, slice_min=0, slice_max=1023, offset=offset)
    # its side of the call stays open
    requests = queue.SimpleQueue()
    requests.put(messages.StreamIn(init=init))
    try:
        for answer in stub.EventsBySlices(iter(requests.get, None)):
            say(described(answer))
    finally:
        requests.put(None)


def load(stub, stream_id, persistence_id, seq_nr):
    request = messages.LoadEventRequest(stream_id=stream_id, persistence_id=persistence_id, seq_nr=int(seq_nr))
    say(described(stub.LoadEvent(request)))


def timestamp(stub, stream_id, persistence_id, seq_nr):
    request = messages.EventTimestampRequest(stream_id=stream_id, persistence_id=persistence_id, seq_nr=int(seq_nr))
    answer = stub.EventTimestamp(request)
    say({"timestamp": micros(answer.timestamp) if answer.HasField("timestamp") else None})


def told(call, *args):
    try:
        call(*args)
    except grpc.RpcError as error:
        say({"status": error.code().name, "details": error.details()})


port, command, stream_id, *rest = sys.argv[1:]
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    stub = EventProducerServiceStub(channel)
    if command == "consume":
        told(consume, stub, stream_id, *rest)
    else:
        call = {"load": load, "timestamp": timestamp}[command]
        for persistence_id, seq_nr in zip(rest[::2], rest[1::2]):
            told(call, stub, stream_id, persistence_id, seq_nr)
