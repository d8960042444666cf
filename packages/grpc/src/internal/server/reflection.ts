import type { DescFile } from "@bufbuild/protobuf"
import { toBinary } from "@bufbuild/protobuf"
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt"
import { type MethodDefinition, status } from "@grpc/grpc-js"
import { ReflectionService } from "@grpc/reflection"
import * as Effect from "effect/Effect"
import { frame, type IncomingCall, type Method } from "../../Call.ts"
import { file_akka_projection_grpc_event_producer } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { file_grpc_health_v1_health } from "../generated/grpc/health/v1/health_pb.ts"
import { bufferOf } from "../wire/bufferOf.ts"
import { Status } from "../wire/status.ts"
import type { Run } from "./Run.ts"
import { streaming } from "./serverCall.ts"

const withDependencies = (file: DescFile): ReadonlyArray<DescFile> => [
  file,
  ...file.dependencies.flatMap(withDependencies)
]

/** What the library uses of a call. */
interface LibraryCall {
  readonly on: (event: "data" | "end", listener: (request?: unknown) => void) => void
  readonly write: (answer: unknown) => void
  readonly end: () => void
}

/** Ends when the client has said all. (The library leaves a call open for as long as the client does: it ends earlier with the server.) */
const answered = (
  call: IncomingCall,
  { requestDeserialize, responseSerialize }: MethodDefinition<unknown, unknown>,
  answer: (call: LibraryCall) => void
): Effect.Effect<void, Status> =>
  Effect.callback((resume) => {
    const listeners: Record<"data" | "end", (request?: unknown) => void> = { data: () => {}, end: () => {} }
    answer({
      on: (event, listener) => {
        listeners[event] = listener
      },
      write: (answer) => call.write(frame(responseSerialize(answer)), () => {}),
      end: () => resume(Effect.void)
    })
    call.receive((bytes) => {
      try {
        listeners.data(requestDeserialize(bufferOf(bytes)))
      } catch {
        resume(Effect.fail(new Status(status.INTERNAL, "a message that is no request")))
      }
    }, () => listeners.end())
  })

/** @internal Answers `grpc.reflection.v1` and its `v1alpha`, so that a client needs no `.proto`. */
export const reflection = (run: Run): ReadonlyArray<Method> => {
  const files = [file_akka_projection_grpc_event_producer, file_grpc_health_v1_health].flatMap(withDependencies)
  // gRPC's own library: of what @grpc/proto-loader makes it reads the descriptors only, and protobuf-es has them as well
  const library = new ReflectionService({
    files: {
      format: "Protocol Buffer 3 DescriptorProto",
      type: {},
      fileDescriptorProtos: files.map(({ proto }) => Buffer.from(toBinary(FileDescriptorProtoSchema, proto)))
    }
  })
  const methods: Array<Method> = []
  library.addToServer({
    addService: (service, implementation) => {
      for (const [name, definition] of Object.entries(service)) {
        const answer = implementation[name] as unknown as (call: LibraryCall) => void
        methods.push(streaming(definition.path, run, (call) => answered(call, definition, answer)))
      }
    }
  })
  return methods
}
