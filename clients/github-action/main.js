// The action's step: one login for each registry, the first of which makes the outputs.
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { input, run } = require('./run.js');

function requests() {
  const lines = input('registries').split('\n').map((line) => line.trim()).filter(Boolean);
  if (lines.length === 0) return [{ registry: input('registry'), scope: input('scope') }];
  if (input('registry') || input('scope')) {
    console.log('::error title=ACR token::write either registries, or registry and scope');
    process.exit(1);
  }
  return lines.map((line) => {
    const [registry, ...scopes] = line.split(/\s+/);
    return { registry, scope: scopes.join(' ') };
  });
}

const ignored = path.join(fs.mkdtempSync(path.join(process.env.RUNNER_TEMP || os.tmpdir(), 'acr-vending-')), 'output');
// Said before the first login: the end of the job takes back whatever was written, even by half.
if (process.env.GITHUB_STATE) fs.appendFileSync(process.env.GITHUB_STATE, `login=${input('login')}\n`);
for (const [number, request] of requests().entries()) {
  const code = run('github-action', {
    ACR_VENDING_URL: input('url'),
    ACR_VENDING_AUDIENCE: input('audience'),
    ACR_VENDING_LOGIN: input('login'),
    ACR_VENDING_REGISTRY: request.registry,
    ACR_VENDING_SCOPE: request.scope,
    ...(number > 0 && { GITHUB_OUTPUT: ignored }),
  });
  if (code !== 0) {
    process.exitCode = code;
    break;
  }
}
fs.rmSync(path.dirname(ignored), { recursive: true, force: true });
