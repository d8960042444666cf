import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type { Answer, Command } from "../Behaviour.ts"
import type { Entity } from "../Entity.ts"
import { Runs } from "../EntityClient.ts"
import { EntityConflict, type EntityError } from "../EntityError.ts"
import { maxAttempts, pauseAfter } from "./conflicts.ts"
import { handle } from "./handle.ts"

/** @internal Recovers an entity for each command, and keeps nothing of it. */
export const plain = <Name extends string, Rpcs extends Rpc.Any, R>(
  entity: Entity<Name, Rpcs, R>
): Layer.Layer<Runs<Name>, never, R> =>
  Layer.effect(
    Runs(entity.name),
    Effect.map(entity.behaviour, (behaviour) => {
      const attempt = (id: string, command: Command, number: number): Effect.Effect<Answer, EntityError> =>
        behaviour.recover(id).pipe(
          Effect.flatMap((held) => handle(behaviour, held, command, true)),
          Effect.map(({ answer }) => answer),
          Effect.catchTag("Stale", ({ cause }) =>
            number < maxAttempts
              ? Effect.andThen(pauseAfter(number), attempt(id, command, number + 1))
              : Effect.fail(new EntityConflict({ entityType: entity.name, id, attempts: number, cause })))
        )
      return { send: (id, command) => attempt(id, command, 1) }
    })
  ) as Layer.Layer<Runs<Name>, never, R>
