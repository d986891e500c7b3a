// The action's step: one login for each registry, the first of which makes the outputs.
'use strict';

process.exitCode = 1; // until the last line has run: a copy that is cut off fails

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { input, run } = require('./run.js');

function fail(message) {
  console.log(`::error title=ACR token::${message}`);
  process.exit(1);
}

function requests() {
  const lines = input('registries').split('\n').map((line) => line.trim()).filter(Boolean);
  if (lines.length === 0) return [{ registry: input('registry'), scope: input('scope') }];
  if (input('registry') || input('scope')) fail('write either registries, or registry and scope');
  return lines.map((line) => {
    const [registry, ...scopes] = line.split(/\s+/);
    return { registry, scope: scopes.join(' ') };
  });
}

// Runs one login, whose outputs go into a file; an empty script would exit 0 without any.
function login(request, outputs) {
  const before = fs.statSync(outputs).size;
  const code = run('github-action', {
    ACR_VENDING_URL: input('url'),
    ACR_VENDING_AUDIENCE: input('audience'),
    ACR_VENDING_LOGIN: input('login'),
    ACR_VENDING_REGISTRY: request.registry,
    ACR_VENDING_SCOPE: request.scope,
    GITHUB_OUTPUT: outputs,
  });
  if (code === 0 && fs.statSync(outputs).size === before) fail('acr-token.sh ended without a token: is the copy complete?');
  return code;
}

const [first, ...others] = requests();
// Said before the first login: the end of the job takes back whatever was written, even by half.
if (process.env.GITHUB_STATE) fs.appendFileSync(process.env.GITHUB_STATE, `login=${input('login')}\n`);
let code = login(first, process.env.GITHUB_OUTPUT);
if (others.length > 0) {
  const directory = fs.mkdtempSync(path.join(process.env.RUNNER_TEMP || os.tmpdir(), 'acr-vending-'));
  process.on('exit', () => fs.rmSync(directory, { recursive: true, force: true }));
  const ignored = path.join(directory, 'output');
  fs.writeFileSync(ignored, '');
  for (const request of others) code = code || login(request, ignored);
}
process.exitCode = code;
