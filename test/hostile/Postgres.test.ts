import { suite } from "./suite.ts"

suite("postgres")
