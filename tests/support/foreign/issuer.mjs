// Run oauth2-mock-server as a GitHub-shaped issuer: prints its URL, then answers one JSON command a line on stdin.
// {"claims": {…}} → {"token": "…"}; {"rotate": true} → {"kid": "…"}
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.argv[2]);
const { OAuth2Server } = require("oauth2-mock-server");

const server = new OAuth2Server();
await server.issuer.keys.generate("RS256");
await server.start(0, "127.0.0.1");
server.issuer.url = `http://127.0.0.1:${server.address().port}`;
console.log(JSON.stringify({ url: server.issuer.url }));

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.rotate) {
    const key = await server.issuer.keys.generate("RS256");
    console.log(JSON.stringify({ kid: key.kid }));
    continue;
  }
  const token = await server.issuer.buildToken({
    kid: command.kid ?? undefined,
    scopesOrTransform: (_header, payload) => Object.assign(payload, command.claims),
  });
  console.log(JSON.stringify({ token }));
}
await server.stop();
