// Print Terraform files as JSON, parsed by HashiCorp's own parser: {path: contents}.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { parse } = createRequire(process.cwd() + "/")("@cdktf/hcl2json");
const files = {};
for (const path of process.argv.slice(2)) {
  files[path] = await parse(path, readFileSync(path, "utf8"));
}
process.stdout.write(JSON.stringify(files));
