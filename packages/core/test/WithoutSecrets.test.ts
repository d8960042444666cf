import { assert, describe, it } from "@effect/vitest"
import { withoutSecrets } from "../src/internal/projection/withoutSecrets.ts"

const masked: ReadonlyArray<readonly [text: string, shown: string]> = [
  ["postgres://u:hunter2@h/db", "postgres://…@h/db"],
  ["pg://u:hun/te@r2@h", "pg://…@h"],
  ["redis://:hunter2@h", "redis://…@h"],
  ["https://hunter2@h/x", "https://…@h/x"],
  ["https://h/?access_token=hunter2", "https://h/?access_token=…"],
  ["https://h/?sig=hunter2", "https://h/?sig=…"],
  ["PGPASSWORD=hunter2 psql", "PGPASSWORD=… psql"],
  ["DB_PASSWORD=hunter2", "DB_PASSWORD=…"],
  ["client_secret: hunter2", "client_secret: …"],
  ["apiKey => hunter2", "apiKey => …"],
  ["AWSAccessKeyId=hunter2", "AWSAccessKeyId=…"],
  ["password = 'hun ter2' at h", "password = … at h"],
  ["password=hun,te;r2 at h", "password=… at h"],
  [`{"password":"hunter2"}`, `{"password":…}`],
  [`{"password": "hun \\"ter2", "user": "u"}`, `{"password": …, "user": "u"}`],
  [`{\\"password\\":\\"hunter2\\"} at h`, `{\\"password\\":… at h`],
  [`env["DB_PASSWORD"] = "hunter2"`, `env["DB_PASSWORD"] = …`],
  ["Authorization: Bearer hunter2", "Authorization: …"],
  ["got bearer hunter2 there", "got bearer … there"],
  ["eyJhbGciOiJI.eyJzdWIi.hunter2", "…"]
]

describe("a text without secrets", () => {
  for (const [text, shown] of masked) it(text, () => assert.strictEqual(withoutSecrets(text), shown))

  it("is the same where it has none", () => {
    for (
      const text of [
        "",
        "out of ink",
        `password authentication failed for user "app"`,
        "the access token is expired",
        `Unexpected token '<', "<html>" is not valid JSON`,
        "cannot reach https://h:8443/x",
        "mail to ada@example.org"
      ]
    ) assert.strictEqual(withoutSecrets(text), text)
  })
})
