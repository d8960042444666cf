import { create, createFileRegistry, type FileRegistry, fromBinary, fromJson, toBinary } from "@bufbuild/protobuf"
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import { assert, layer } from "@effect/vitest"
import { type Client, status } from "@grpc/grpc-js"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { StreamOut } from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { file_akka_projection_grpc_event_producer } from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import * as Producer from "./kit/Producer.ts"
import { append, carts, serve } from "./kit/Producer.ts"
import * as RawClient from "./kit/RawClient.ts"
import * as Wire from "./kit/Wire.ts"

const producer = "akka.projection.grpc.EventProducerService"
const protoFile = "akka/projection/grpc/event_producer.proto"

/** The fields of a request. */
const fileByFilename = 3
const fileContainingSymbol = 4
const allExtensionNumbersOfType = 6
const listServices = 7

/** The fields of an answer. */
const originalRequest = 2
const fileDescriptorResponse = 4
const listServicesResponse = 6
const errorResponse = 7

/** A client that asks what a server has. */
const reflection = (client: Client, version: string) =>
  Effect.map(Wire.open(client, `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`), (call) => {
    const ask = (field: number, text: string) =>
      Effect.gen(function*() {
        const n = call.answers.length
        const request = Wire.encode({ 1: "a host", [field]: text })
        call.send(request)
        yield* Wait.until("an answer", () => call.answers.length > n || call.status !== undefined)
        const answer = Wire.decode(call.answers[n]!)
        assert.deepStrictEqual(Wire.messages(answer, originalRequest), [request])
        return answer
      })
    return {
      call,
      ask,
      files: (field: number, text: string) =>
        Effect.map(ask(field, text), (answer) => Wire.messages(Wire.decode(message(answer, fileDescriptorResponse)), 1))
    }
  })

const message = (answer: Wire.Fields, field: number): Buffer => {
  const [found] = Wire.messages(answer, field)
  assert.isDefined(found, `field ${field} of an answer with ${[...answer.keys()].join(", ")}`)
  return found
}

const nameOf = (bytes: Uint8Array) => fromBinary(FileDescriptorProtoSchema, bytes).name

const registryOf = (files: ReadonlyArray<Uint8Array>): FileRegistry =>
  createFileRegistry(
    // what others import comes first
    create(FileDescriptorSetSchema, {
      file: files.toReversed().map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes))
    })
  )

for (const version of ["v1", "v1alpha"]) {
  layer(Producer.quiet, { excludeTestServices: true })(`reflection ${version}`, (it) => {
    it.effect("lists the services", () =>
      Effect.gen(function*() {
        const client = yield* RawClient.client(yield* serve(Layer.empty))
        const { ask } = yield* reflection(client, version)
        const services = Wire.messages(Wire.decode(message(yield* ask(listServices, "*"), listServicesResponse)), 1)
        assert.deepStrictEqual(
          services.map((bytes) => message(Wire.decode(bytes), 1).toString()).toSorted(),
          [producer, "grpc.health.v1.Health"]
        )
      }))

    it.effect("has the files as they were written, by name and by what they hold, and with what they import", () =>
      Effect.gen(function*() {
        const client = yield* RawClient.client(yield* serve(Layer.empty))
        const { files } = yield* reflection(client, version)
        const found = yield* files(fileByFilename, protoFile)
        assert.deepStrictEqual(found.map(nameOf).toSorted(), [
          protoFile,
          "google/protobuf/any.proto",
          "google/protobuf/timestamp.proto"
        ])
        assert.deepStrictEqual(
          new Uint8Array(found.find((bytes) => nameOf(bytes) === protoFile)!),
          toBinary(FileDescriptorProtoSchema, file_akka_projection_grpc_event_producer.proto)
        )
        for (const symbol of [producer, `${producer}.LoadEvent`, "akka.projection.grpc.StreamOut"]) {
          assert.deepStrictEqual(yield* files(fileContainingSymbol, symbol), found)
        }
        const [any] = yield* files(fileContainingSymbol, "google.protobuf.Any")
        assert.strictEqual(nameOf(any!), "google/protobuf/any.proto")
        const health = registryOf(yield* files(fileContainingSymbol, "grpc.health.v1.Health"))
        assert.sameMembers(
          health.getService("grpc.health.v1.Health")!.methods.map(({ name }) => name),
          ["Check", "List", "Watch"]
        )
      }))

    it.effect("says so where there is nothing of that name, and goes on", () =>
      Effect.gen(function*() {
        const client = yield* RawClient.client(yield* serve(Layer.empty))
        const { ask, call, files } = yield* reflection(client, version)
        for (
          const [field, text] of [
            [fileByFilename, "cart.proto"],
            [fileContainingSymbol, "akka.projection.grpc.EventConsumerService"],
            [allExtensionNumbersOfType, producer]
          ] as const
        ) {
          const error = Wire.decode(message(yield* ask(field, text), errorResponse))
          assert.deepStrictEqual(error.get(1), [status.NOT_FOUND])
          assert.include(message(error, 2).toString(), text)
        }
        assert.isNotEmpty(yield* files(fileContainingSymbol, producer))
        call.halfClose()
        yield* Wait.until("the call to end", () => call.status !== undefined)
        assert.strictEqual(call.status!.code, status.OK)
      }))

    it.effect("ends the call of a client that says what is no request, and serves the others", () =>
      Effect.gen(function*() {
        const client = yield* RawClient.client(yield* serve(Layer.empty))
        const { call } = yield* reflection(client, version)
        call.send(Buffer.from([0x0a, 0xff]))
        yield* Wait.until("the call to end", () => call.status !== undefined)
        assert.strictEqual(call.status!.code, status.INTERNAL)
        assert.isNotEmpty(yield* (yield* reflection(client, version)).files(fileContainingSymbol, producer))
      }))

    it.effect("lets a client that knows nothing read a stream", () =>
      Effect.gen(function*() {
        const client = yield* RawClient.client(yield* serve(carts))
        yield* append("a", ["first", "second"])
        const registry = registryOf(yield* (yield* reflection(client, version)).files(fileContainingSymbol, producer))
        const { input, name, output } = registry.getService(producer)!.method["eventsBySlices"]!
        const call = yield* Wire.open(client, `/${producer}/${name}`)
        const request = fromJson(input, { init: { streamId: "cart", sliceMax: 1023 } })
        call.send(Buffer.from(toBinary(input, request)))
        yield* Wait.until("two events", () => call.answers.length === 2)
        assert.deepStrictEqual(
          call.answers.map((bytes) => RawClient.shortly(fromBinary(output, bytes) as StreamOut)),
          ["a 1 first", "a 2 second"]
        )
      }).pipe(Effect.provide(MemoryStorage.layer)))

    it.effect("does not hold up a server that shuts down", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const client = yield* RawClient.client(yield* Scope.provide(serve(Layer.empty), scope))
        const { call, files } = yield* reflection(client, version)
        yield* files(fileContainingSymbol, producer)
        yield* Producer.closeAtOnce(scope)
        yield* Wait.until("the call to end", () => call.status !== undefined)
        assert.strictEqual(call.status!.code, status.UNAVAILABLE)
      }))
  })
}
