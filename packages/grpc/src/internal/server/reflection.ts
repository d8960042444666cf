import type { DescFile } from "@bufbuild/protobuf"
import { toBinary } from "@bufbuild/protobuf"
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt"
import type * as Grpc from "@grpc/grpc-js"
import { ReflectionService } from "@grpc/reflection"
import * as Effect from "effect/Effect"
import { file_akka_projection_grpc_event_producer } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { file_grpc_health_v1_health } from "../generated/grpc/health/v1/health_pb.ts"
import { respondStreaming, type Run } from "./serverCall.ts"

const withDependencies = (file: DescFile): ReadonlyArray<DescFile> => [
  file,
  ...file.dependencies.flatMap(withDependencies)
]

/** @internal Answers `grpc.reflection.v1` and its `v1alpha`, so that a client needs no `.proto`. */
export const addReflection = (server: Grpc.Server, run: Run): void => {
  const files = [file_akka_projection_grpc_event_producer, file_grpc_health_v1_health].flatMap(withDependencies)
  // gRPC's own library: of what @grpc/proto-loader makes it reads the descriptors only, and protobuf-es has them as well
  const reflection = new ReflectionService({
    files: {
      format: "Protocol Buffer 3 DescriptorProto",
      type: {},
      fileDescriptorProtos: files.map(({ proto }) => Buffer.from(toBinary(FileDescriptorProtoSchema, proto)))
    }
  })
  reflection.addToServer({
    addService: (service, implementation) => {
      const answer = implementation["ServerReflectionInfo"] as (call: Grpc.ServerDuplexStream<any, any>) => void
      server.addService(service, {
        ServerReflectionInfo(call: Grpc.ServerDuplexStream<any, any>) {
          // the library leaves a call open for as long as the client does, and a server that shuts down would wait for it
          const answered = Effect.callback<void>((resume) => {
            call.once("finish", () => resume(Effect.void))
            answer(call)
          })
          respondStreaming("ServerReflectionInfo", call, answered, run)
        }
      })
    }
  })
}
