/** @internal In the headers of a replica that compares itself with another one, and so wants to see the events of all origins. */
export const allHeader = "sluice-all-origins"
