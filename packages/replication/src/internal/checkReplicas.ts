import type { ReplicatedEventSourced } from "../ReplicatedEventSourced.ts"

/** @internal Throws a `RangeError` where one of the ids is none of a replica of the entity. */
export const checkReplicas = (
  { name, replicas }: Pick<ReplicatedEventSourced<any, any, any, any, any>, "name" | "replicas">,
  ids: Iterable<string>
): void => {
  for (const id of ids) {
    if (!replicas.includes(id)) {
      throw new RangeError(`'${id}' is none of the replicas of '${name}': '${replicas.join("', '")}'`)
    }
  }
}
