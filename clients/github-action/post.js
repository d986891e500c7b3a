// The end of the job: take back what the action's step wrote.
'use strict';

const { run } = require('./run.js');

if (process.env.STATE_login && process.env.STATE_login.toLowerCase() !== 'false') process.exitCode = run('logout');
