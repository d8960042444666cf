/** Says what is wrong with how a command was called, and ends it, so that nothing done is not taken for all that went well. */
export const refuse = (problem: string): never => {
  console.error(problem)
  process.exit(2)
}
