import { suite } from "./suite.ts"

suite("mariadb")
