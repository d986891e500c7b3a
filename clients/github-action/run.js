// Runs acr-token.sh: beside this file in a released action, above it in the project's own repository. The protocol is the
// script's; this only hands over the inputs, and finds the shell on each kind of runner.
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const windows = process.platform === 'win32';

function shell() {
  if (!windows) return 'sh';
  // Git's bash, as `shell: bash` has it; the first on the PATH may be that of the Linux subsystem.
  const bash = path.join(process.env.ProgramFiles || 'C:\\Program Files', 'Git', 'bin', 'bash.exe');
  return fs.existsSync(bash) ? bash : 'bash';
}

function environment(more) {
  const environment = { ...process.env, ...more };
  if (windows) {
    // Docker is a native program: it must be told of paths that it understands, and so must curl.
    const plain = (text) => text.replace(/\\/g, '/');
    environment.DOCKER_CONFIG = plain(process.env.DOCKER_CONFIG || path.join(os.homedir(), '.docker'));
    environment.RUNNER_TEMP = plain(process.env.RUNNER_TEMP || os.tmpdir());
  }
  return environment;
}

// Returns the exit code; what the script prints are commands for the runner, so it goes where ours goes.
exports.run = (command, more = {}) => {
  const script = [__dirname, path.dirname(__dirname)].map((place) => path.join(place, 'acr-token.sh')).find(fs.existsSync);
  const done = spawnSync(shell(), [script, command], { stdio: ['ignore', 'inherit', 'inherit'], env: environment(more) });
  if (done.error) {
    console.log(`::error title=ACR token::cannot run acr-token.sh: ${done.error.message}`);
    return 1;
  }
  return done.status === null ? 1 : done.status;
};

exports.input = (name) => (process.env[`INPUT_${name.toUpperCase()}`] || '').trim();
