/** @internal The name of the projection of another replica's events. */
export const projectionName = (entityType: string, self: string, remote: string): string =>
  `RES_${entityType}_${self}_${remote}`
